#pragma once
// Calls a function on the JS thread some time after wake(); many wakes may become one call.
// Invariant: no call after close(); a sleeping WakeUp does not keep the program alive unless
// hold() says so.
// Threads: wake on any thread; everything else on the JS thread.

#include <napi.h>

#include <atomic>
#include <functional>
#include <memory>

namespace millrace {

class WakeUp {
 public:
  using Call = std::function<void(Napi::Env)>;

  WakeUp(napi_env env, Call call) : env_(env), call_(std::move(call)) {}
  // Null with a pending exception when Node refuses.
  static std::shared_ptr<WakeUp> create(Napi::Env env, const char* name, Call call);

  void wake();
  void hold(bool keeps_alive);
  void close();

 private:
  static void on_call(napi_env env, napi_value, void* context, void*);
  static void finalize(napi_env, void* data, void*);
  void run(Napi::Env env);

  napi_env env_;
  Call call_;
  napi_threadsafe_function function_ = nullptr;
  std::atomic<bool> woken_ = false;
  bool held_ = false;
  bool running_ = false;
  std::atomic<bool> closed_ = false;
};

}  // namespace millrace
