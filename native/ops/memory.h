#pragma once
// Host memory for buffers of the CPU device and for operator scratch: zeroed, 64-byte aligned,
// in huge pages where the system has them. Null when refused, by the system or by
// fail_alloc_after.
// Threads: any.

#include <cstddef>
#include <memory>

namespace millrace {

std::shared_ptr<void> host_memory(size_t size_bytes);

// True when fail_alloc_after refuses the allocation that is about to be made.
bool allocation_refused();

}  // namespace millrace
