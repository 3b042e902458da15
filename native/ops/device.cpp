#include "ops/device.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "ops/memory.h"

#if defined(__linux__) || defined(__APPLE__)
#include <sys/mman.h>
#endif

namespace millrace {
namespace {

constexpr size_t k_alignment = 64;
constexpr size_t k_huge_page = size_t{2} << 20;

std::atomic<int> allocations_left{-1};  // fail_alloc_after

#if defined(__linux__) || defined(__APPLE__)
// Whole huge pages where there are any, zeroed by the kernel when first touched.
std::shared_ptr<void> map_pages(size_t size_bytes) {
  const size_t mapped = (size_bytes + k_huge_page - 1) / k_huge_page * k_huge_page + k_huge_page;
  void* base = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return nullptr;
  const auto start =
      (reinterpret_cast<uintptr_t>(base) + k_huge_page - 1) / k_huge_page * k_huge_page;
#if defined(__linux__)
  madvise(reinterpret_cast<void*>(start), mapped - k_huge_page, MADV_HUGEPAGE);
#endif
  return {reinterpret_cast<void*>(start), [base, mapped](void*) { munmap(base, mapped); }};
}
#endif

std::shared_ptr<void> heap_block(size_t size_bytes) {
  const size_t rounded = (size_bytes + k_alignment - 1) / k_alignment * k_alignment;
#if defined(_WIN32)
  void* block = _aligned_malloc(rounded, k_alignment);
  const auto release = [](void* p) { _aligned_free(p); };
#else
  void* block = std::aligned_alloc(k_alignment, rounded);
  const auto release = [](void* p) { std::free(p); };
#endif
  if (block == nullptr) return nullptr;
  std::memset(block, 0, rounded);
  return {block, release};
}

}  // namespace

bool allocation_refused() {
  int left = allocations_left.load(std::memory_order_relaxed);
  if (left < 0) return false;
  if (left > 0) allocations_left.store(left - 1, std::memory_order_relaxed);
  return left == 0;
}

void fail_alloc_after(int n) { allocations_left.store(n, std::memory_order_relaxed); }

std::shared_ptr<void> host_memory(size_t size_bytes) {
  if (size_bytes == 0) size_bytes = k_alignment;
  if (size_bytes > std::numeric_limits<size_t>::max() / 2 || allocation_refused()) return nullptr;
#if defined(__linux__) || defined(__APPLE__)
  if (size_bytes >= k_huge_page) return map_pages(size_bytes);
#endif
  return heap_block(size_bytes);
}

void Queue::fail(Status status) {
  if (error_.ok()) error_ = std::move(status);
}

Status Queue::take_error() { return std::exchange(error_, Status()); }

void* Queue::scratch(size_t size_bytes) {
  if (size_bytes <= scratch_bytes_) return scratch_.get();
  const size_t wanted = size_bytes + size_bytes / 4;  // grow in steps, not at every longer prompt
  auto grown = host_memory(wanted);
  if (!grown) {
    fail(error(ErrorCode::out_of_memory, "cannot allocate %zu bytes for operator scratch", wanted));
    return nullptr;
  }
  scratch_ = std::move(grown);
  scratch_bytes_ = wanted;
  return scratch_.get();
}

}  // namespace millrace
