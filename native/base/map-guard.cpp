#include "base/map-guard.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <mutex>
#include <new>

#if !defined(_WIN32)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace millrace {

// One mapping. The list only grows, so that the handler may walk it at any time; a range that is
// free has no bytes.
struct MappedRange {
  std::atomic<uintptr_t> begin = 0, end = 0;
  std::atomic<bool> is_whole = true;
  MappedRange* next = nullptr;
};

#if defined(_WIN32)

// A mapped file cannot be shortened there.
MapGuard::MapGuard(const void*, size_t) {}
MapGuard::~MapGuard() = default;

#else

namespace {

std::atomic<MappedRange*> g_ranges{nullptr};
std::mutex g_mutex;  // of the two below, and of taking ranges
int g_guards = 0;
struct sigaction g_before;
uintptr_t g_page_bytes = 4096;

// Zeros from the page of `at` to the end of its range.
bool fill_hole(uintptr_t at) {
  for (MappedRange* range = g_ranges.load(std::memory_order_acquire); range; range = range->next) {
    const uintptr_t end = range->end.load(std::memory_order_acquire);
    if (at < range->begin.load(std::memory_order_acquire) || at >= end) continue;
    const uintptr_t page = at / g_page_bytes * g_page_bytes;
    range->is_whole.store(false, std::memory_order_release);
    return mmap(reinterpret_cast<void*>(page), end - page, PROT_READ,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
  }
  return false;
}

// Calls only what a signal handler may: atomics, sigaction, raise, and mmap, which is one system
// call.
void on_bus_error(int signal, siginfo_t* info, void* context) {
  const int code = errno;
  const bool is_access = info->si_code > 0;  // and not sent by a process
  const bool is_filled = is_access && fill_hole(reinterpret_cast<uintptr_t>(info->si_addr));
  errno = code;
  if (is_filled) return;
  if (g_before.sa_flags & SA_SIGINFO) return g_before.sa_sigaction(signal, info, context);
  if (g_before.sa_handler != SIG_DFL && g_before.sa_handler != SIG_IGN)
    return g_before.sa_handler(signal);
  // Ends the process once this handler has returned, as it would have.
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  sigaction(SIGBUS, &action, nullptr);
  raise(signal);
}

void install() {
  g_page_bytes = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  struct sigaction action = {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, &g_before);
}

// Unless somebody has put another handler before ours meanwhile, which then needs it.
void uninstall() {
  struct sigaction now = {};
  if (sigaction(SIGBUS, nullptr, &now) == 0 && now.sa_sigaction == on_bus_error)
    sigaction(SIGBUS, &g_before, nullptr);
}

MappedRange* free_range() {
  for (MappedRange* range = g_ranges.load(); range; range = range->next)
    if (range->end == 0) return range;
  MappedRange* made = new (std::nothrow) MappedRange;
  if (made) {
    made->next = g_ranges.load();
    g_ranges.store(made, std::memory_order_release);
  }
  return made;
}

}  // namespace

MapGuard::MapGuard(const void* begin, size_t n_bytes) {
  if (n_bytes == 0) return;
  const std::lock_guard lock(g_mutex);
  range_ = free_range();
  if (!range_) return;
  if (g_guards++ == 0) install();
  const auto address = reinterpret_cast<uintptr_t>(begin);
  const uintptr_t last_page = (address + n_bytes - 1) / g_page_bytes;
  range_->is_whole = true;
  range_->begin = address;
  range_->end = (last_page + 1) * g_page_bytes;
}

MapGuard::~MapGuard() {
  if (!range_) return;
  const std::lock_guard lock(g_mutex);
  range_->end = 0;
  if (--g_guards == 0) uninstall();
}

#endif

bool MapGuard::is_whole() const { return !range_ || range_->is_whole; }

}  // namespace millrace
