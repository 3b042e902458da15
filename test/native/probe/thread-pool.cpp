// Probe of the thread pool.

#include "base/thread-pool.h"

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>

#include "probe.h"

namespace millrace {
namespace {

// poolVisits(threads, n, grain, rounds): how often each index of [0, n) was visited.
Napi::Value pool_visits(const Napi::CallbackInfo& info) {
  const auto number = [&](size_t i) { return info[i].ToNumber().Int32Value(); };
  const int n = number(1), grain = number(2), rounds = number(3);
  ThreadPool pool(number(0));
  std::vector<float> visits(static_cast<size_t>(n));
  std::atomic<bool> within{true};
  for (int round = 0; round < rounds; ++round)
    pool.parallel_for(n, grain, [&](int begin, int end, int worker) {
      if (end - begin > grain || worker < 0 || worker >= pool.size()) within = false;
      for (int i = begin; i < end; ++i) visits[static_cast<size_t>(i)] += 1.0f;
    });
  if (!within) return throw_status(info.Env(), error(ErrorCode::internal, "a range out of bounds"));
  return to_array(info.Env(), std::span<const float>(visits));
}

// poolShares(threads, n, sleepMs): ranges taken by each worker when worker 1 sleeps in each of its
// own.
Napi::Value pool_shares(const Napi::CallbackInfo& info) {
  const auto number = [&](size_t i) { return info[i].ToNumber().Int32Value(); };
  const std::chrono::milliseconds pause(number(2));
  ThreadPool pool(number(0));
  std::vector<int32_t> shares(static_cast<size_t>(pool.size()));
  pool.parallel_for(number(1), 1, [&](int, int, int worker) {
    ++shares[static_cast<size_t>(worker)];
    std::this_thread::sleep_for(worker == 1 ? 20 * pause : pause);
  });
  return to_array(info.Env(), std::span<const int32_t>(shares));
}

// poolThrows(threads): true when an exception of a body arrives at the caller, and work goes on.
Napi::Value pool_throws(const Napi::CallbackInfo& info) {
  ThreadPool pool(info[0].ToNumber().Int32Value());
  bool caught = false;
  try {
    pool.parallel_for(64, 1, [](int begin, int, int) {
      if (begin == 40) throw std::runtime_error("from a body");
    });
  } catch (const std::runtime_error&) {
    caught = true;
  }
  std::atomic<int> visited{0};
  pool.parallel_for(64, 1, [&](int, int, int) { ++visited; });
  return Napi::Boolean::New(info.Env(), caught && visited == 64);
}

// poolForkJoin(threads, rounds): mean microseconds of a fork and join in which every worker has to
// arrive before the join.
Napi::Value pool_fork_join(const Napi::CallbackInfo& info) {
  const int threads = info[0].ToNumber().Int32Value(), rounds = info[1].ToNumber().Int32Value();
  ThreadPool pool(threads);
  const auto start = std::chrono::steady_clock::now();
  for (int round = 0; round < rounds; ++round) {
    std::atomic<int> arrived{0};
    pool.parallel_for(threads, 1, [&](int, int, int) {
      ++arrived;
      while (arrived < threads) {
      }
    });
  }
  const std::chrono::duration<double, std::micro> spent = std::chrono::steady_clock::now() - start;
  return Napi::Number::New(info.Env(), spent.count() / rounds);
}

}  // namespace

void register_thread_pool(Napi::Env env, Napi::Object exports) {
  exports.Set("poolVisits", Napi::Function::New(env, pool_visits));
  exports.Set("poolShares", Napi::Function::New(env, pool_shares));
  exports.Set("poolThrows", Napi::Function::New(env, pool_throws));
  exports.Set("poolForkJoin", Napi::Function::New(env, pool_fork_join));
}

}  // namespace millrace
