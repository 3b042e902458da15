#pragma once
// Device memory of the host form. Hidden, it cannot be touched but by kernels and copies, as on a
// real device: who reads it from outside is ended by the system, and so is a kernel that goes
// beyond the end of a block by more than it is rounded up. In place, tests may look at it. Threads:
// any.

#include <cstddef>

namespace millrace::cuda {

void hide_device_memory();  // from now on; before the first allocation

void* take_memory(size_t size_bytes);  // zeroed, 256-byte aligned; null when refused
void give_memory(void* memory);        // null is allowed

// While one lives, device memory may be touched.
class Access {
 public:
  Access();
  ~Access();
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;
};

}  // namespace millrace::cuda
