#include "ops/cuda/host/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

namespace millrace::cuda {
namespace {

constexpr size_t k_alignment = 256;
constexpr size_t k_page = size_t{64} << 10;  // a multiple of every system's

// Whole pages before one that nobody may ever touch; the block is at their end.
struct Pages {
  void* first;
  size_t size_bytes;
};

struct Hidden {
  std::mutex mutex;
  bool wanted = false;
  int accesses = 0;
  std::map<void*, Pages> blocks;

  void protect(int protection) {
    for (const auto& [block, pages] : blocks) mprotect(pages.first, pages.size_bytes, protection);
  }
};

Hidden& hidden() {
  static auto* const state = new Hidden();  // outlives every device
  return *state;
}

size_t rounded(size_t size_bytes, size_t to) { return (size_bytes + to - 1) / to * to; }

}  // namespace

void hide_device_memory() { hidden().wanted = true; }

void* take_memory(size_t size_bytes) {
  if (size_bytes > PTRDIFF_MAX) return nullptr;
  Hidden& state = hidden();
  const size_t size = rounded(std::max<size_t>(size_bytes, 1), k_alignment);
  if (!state.wanted) {
    void* memory = std::aligned_alloc(k_alignment, size);
    if (memory) std::memset(memory, 0, size);
    return memory;
  }
  const std::lock_guard lock(state.mutex);
  const size_t pages_bytes = rounded(size, k_page);
  void* first = mmap(nullptr, pages_bytes + k_page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (first == MAP_FAILED) return nullptr;
  if (state.accesses > 0) mprotect(first, pages_bytes, PROT_READ | PROT_WRITE);
  void* memory = static_cast<char*>(first) + (pages_bytes - size);
  state.blocks[memory] = {first, pages_bytes};
  return memory;
}

void give_memory(void* memory) {
  Hidden& state = hidden();
  if (!state.wanted) return std::free(memory);
  const std::lock_guard lock(state.mutex);
  const auto found = state.blocks.find(memory);
  if (found == state.blocks.end()) return;
  munmap(found->second.first, found->second.size_bytes + k_page);
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
