#pragma once
// A native task on a thread of its own -> a promise. Never libuv's pool, which belongs to file I/O.
// Invariant: a job shares nothing with JavaScript until `work` has returned; when the environment
// ends first it is cancelled and waited for, and `settle` is dropped uncalled.
// Threads: start and settle on the JS thread, work on the job's thread, post and cancelled on that.

#include <napi.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/result.h"
#include "binding/environment.h"
#include "binding/wake-up.h"

namespace millrace {

class Job : public std::enable_shared_from_this<Job> {
 public:
  // Makes the promise's value, or its error, from what the work found.
  using Settle = std::function<Result<Napi::Value>(Napi::Env)>;
  using Work = std::function<Settle(Job&)>;
  using Step = std::function<void(Napi::Env)>;

  explicit Job(Napi::Env env) : deferred_(Napi::Promise::Deferred::New(env)) {}

  // { promise, cancel() }; the empty value with a pending exception when it cannot start.
  static Napi::Value start(Napi::Env env, Work work);

  bool cancelled() const { return cancelled_.load(); }
  void post(Step step);  // runs it on the JS thread, in order, before settle
  void cancel() { cancelled_.store(true); }

 private:
  void run();
  void wake(Napi::Env env);
  void end(Napi::Env env);
  void shut();

  Napi::Promise::Deferred deferred_;
  std::shared_ptr<WakeUp> wake_up_;
  Environment::Token entry_;
  std::thread thread_;
  std::atomic<bool> cancelled_ = false;
  std::mutex mutex_;
  std::vector<Step> steps_;
  Work work_;  // what it holds dies on the JS thread
  Settle settle_;
};

}  // namespace millrace
