#include "ops/cuda/host/memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

namespace millrace::cuda {
namespace {

constexpr size_t k_alignment = 256;
constexpr size_t k_page = size_t{64} << 10;  // a multiple of every system's

struct Hidden {
  std::mutex mutex;
  bool wanted = false;
  int accesses = 0;
  std::map<void*, size_t> blocks;

  void protect(int protection) {
    for (const auto& [block, size_bytes] : blocks) mprotect(block, size_bytes, protection);
  }
};

Hidden& hidden() {
  static auto* const state = new Hidden();  // outlives every device
  return *state;
}

size_t rounded(size_t size_bytes, size_t to) { return (size_bytes / to + 1) * to; }

}  // namespace

void hide_device_memory() { hidden().wanted = true; }

void* take_memory(size_t size_bytes) {
  if (size_bytes > PTRDIFF_MAX) return nullptr;
  Hidden& state = hidden();
  if (!state.wanted) {
    const size_t size = rounded(size_bytes, k_alignment);
    void* memory = std::aligned_alloc(k_alignment, size);
    if (memory) std::memset(memory, 0, size);
    return memory;
  }
  const std::lock_guard lock(state.mutex);
  const size_t size = rounded(size_bytes, k_page);
  const int protection = state.accesses > 0 ? PROT_READ | PROT_WRITE : PROT_NONE;
  void* memory = mmap(nullptr, size, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  state.blocks[memory] = size;
  return memory;
}

void give_memory(void* memory) {
  Hidden& state = hidden();
  if (!state.wanted) return std::free(memory);
  const std::lock_guard lock(state.mutex);
  const auto found = state.blocks.find(memory);
  if (found == state.blocks.end()) return;
  munmap(memory, found->second);
  state.blocks.erase(found);
}

Access::Access() {
  Hidden& state = hidden();
  if (!state.wanted) return;
  const std::lock_guard lock(state.mutex);
  if (state.accesses++ == 0) state.protect(PROT_READ | PROT_WRITE);
}

Access::~Access() {
  Hidden& state = hidden();
  if (!state.wanted) return;
  const std::lock_guard lock(state.mutex);
  if (--state.accesses == 0) state.protect(PROT_NONE);
}

}  // namespace millrace::cuda
