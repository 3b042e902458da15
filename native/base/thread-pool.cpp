#include "base/thread-pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

#include "base/cpu.h"
#include "base/thread.h"

namespace millrace {
namespace {

constexpr auto k_spin_time = std::chrono::microseconds(60);
constexpr int k_pauses_per_look = 32;  // between two looks at the clock

void pause() {
#if defined(__x86_64__) || defined(_M_X64)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#else
  std::this_thread::yield();
#endif
}

void name_this_worker(int worker) {
  char name[16];
  std::snprintf(name, sizeof name, "millrace-%d", worker);
  name_this_thread(name);
}

// Waits for ready() for about k_spin_time; false when it gave up.
template <class Ready>
bool spin(Ready&& ready) {
  const auto end = std::chrono::steady_clock::now() + k_spin_time;
  do {
    for (int i = 0; i < k_pauses_per_look; ++i) {
      if (ready()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

// The ranges of one worker that nobody has taken. Its worker takes them in order from the front, so
// that what it reads lies in one piece; whoever has nothing left takes from the back.
class alignas(64) Share {
 public:
  void set(int begin, int end) { word_.store(pack(begin, end), std::memory_order_release); }

  // The index of a range that now belongs to the caller, or -1.
  int take_first() {
    return take([](int& begin, int&) { return begin++; });
  }
  int take_last() {
    return take([](int&, int& end) { return --end; });
  }

 private:
  static uint64_t pack(int begin, int end) {
    return uint64_t(uint32_t(begin)) << 32 | uint64_t(uint32_t(end));
  }

  template <class F>
  int take(F&& choose) {
    uint64_t seen = word_.load(std::memory_order_acquire);
    while (true) {
      int begin = int(seen >> 32), end = int(uint32_t(seen));
      if (begin >= end) return -1;
      const int taken = choose(begin, end);
      if (word_.compare_exchange_weak(seen, pack(begin, end), std::memory_order_acq_rel,
                                      std::memory_order_acquire))
        return taken;
    }
  }

  std::atomic<uint64_t> word_{0};
};

}  // namespace

// One job at a time. Whoever takes a range from a share owns it, and the job's fields cannot change
// before that range is finished, because run() waits for `finished`. A worker that sleeps through
// a job is not waited for: the others take its share.
struct ThreadPool::State {
  Body body = nullptr;
  void* context = nullptr;
  int n = 0;
  int grain = 1;
  int ranges = 0;
  std::exception_ptr failure;  // of the one body that won has_failed

  std::vector<Share> shares;  // by worker
  alignas(64) std::atomic<int> finished{0};
  alignas(64) std::atomic<uint32_t> epoch{0};  // raised once per job and at the end
  std::atomic<int> parked{0};
  std::atomic<bool> owner_parked{false};
  std::atomic<bool> stopping{false};
  std::atomic<bool> has_failed{false};
  bool may_spin = false;
  std::vector<std::thread> workers;

  explicit State(int n_threads)
      : shares(static_cast<size_t>(n_threads)), may_spin(n_threads <= cpu().threads) {}

  void publish() {
    finished.store(0, std::memory_order_relaxed);
    const int64_t count = static_cast<int64_t>(shares.size());
    for (int64_t i = 0; i < count; ++i)
      shares[static_cast<size_t>(i)].set(static_cast<int>(i * ranges / count),
                                         static_cast<int>((i + 1) * ranges / count));
    wake();
  }

  int take(int worker) {
    const size_t first = static_cast<size_t>(worker), count = shares.size();
    int range = shares[first].take_first();
    for (size_t i = 1; range < 0 && i < count; ++i) range = shares[(first + i) % count].take_last();
    return range;
  }

  // Takes ranges until none is left. They are reported together, so that workers do not fight for
  // a cache line; until then their job cannot end, so all of them are of one job.
  void work(int worker) {
    int done = 0, total = 0;
    for (int range = take(worker); range >= 0; range = take(worker)) {
      total = ranges;
      const int begin = range * grain;
      try {
        body(context, begin, std::min(n - begin, grain) + begin, worker);
      } catch (...) {
        if (!has_failed.exchange(true)) failure = std::current_exception();
      }
      ++done;
    }
    if (done > 0 && finished.fetch_add(done, std::memory_order_seq_cst) + done == total &&
        owner_parked.load(std::memory_order_seq_cst))
      finished.notify_one();
  }

  void serve(int worker) {
    name_this_worker(worker);
    uint32_t seen = 0;
    while (true) {
      const auto moved = [&] { return epoch.load(std::memory_order_acquire) != seen; };
      if (!(may_spin && spin(moved))) {
        parked.fetch_add(1, std::memory_order_seq_cst);
        epoch.wait(seen, std::memory_order_seq_cst);
        parked.fetch_sub(1, std::memory_order_seq_cst);
      }
      seen = epoch.load(std::memory_order_acquire);
      if (stopping.load(std::memory_order_acquire)) return;
      work(worker);
    }
  }

  void wake() {
    epoch.fetch_add(1, std::memory_order_seq_cst);
    if (parked.load(std::memory_order_seq_cst) > 0) epoch.notify_all();
  }

  void wait_for_workers() {
    const auto all = [&] { return finished.load(std::memory_order_acquire) == ranges; };
    if (all() || (may_spin && spin(all))) return;
    owner_parked.store(true, std::memory_order_seq_cst);
    for (int now = finished.load(); now != ranges; now = finished.load()) finished.wait(now);
    owner_parked.store(false, std::memory_order_relaxed);
  }
};

ThreadPool::ThreadPool(int n_threads) : state_(std::make_unique<State>(n_threads)) {
  for (int worker = 1; worker < n_threads; ++worker) {
    try {
      state_->workers.emplace_back([state = state_.get(), worker] { state->serve(worker); });
    } catch (...) {
      return;  // the system has no more threads: run with those it gave
    }
  }
}

ThreadPool::~ThreadPool() {
  state_->stopping.store(true, std::memory_order_release);
  state_->wake();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::size() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::run(int n, int grain, Body body, void* context) {
  if (n <= 0) return;
  grain = std::max(1, grain);
  if (n <= grain || state_->workers.empty()) {
    for (int begin = 0; begin < n; begin += grain)
      body(context, begin, std::min(n - begin, grain) + begin, 0);
    return;
  }
  State& s = *state_;
  s.body = body;
  s.context = context;
  s.n = n;
  s.grain = grain;
  s.ranges = (n - 1) / grain + 1;
  s.publish();
  s.work(0);
  s.wait_for_workers();
  if (s.has_failed.load(std::memory_order_acquire)) {
    s.has_failed.store(false, std::memory_order_relaxed);
    std::rethrow_exception(std::exchange(s.failure, nullptr));
  }
}

}  // namespace millrace
