#include "binding/wake-up.h"

namespace millrace {

namespace {

// While a worker ends, Node still runs its loop once, with an environment in which every call that
// could reach JavaScript fails. This is the cheapest call that tells.
bool can_run_js(napi_env env) {
  napi_value value = nullptr;
  return napi_get_boolean(env, true, &value) == napi_ok &&
         napi_coerce_to_bool(env, value, &value) == napi_ok;
}

}  // namespace

std::shared_ptr<WakeUp> WakeUp::create(Napi::Env env, const char* name, Call call) {
  auto wake_up = std::make_shared<WakeUp>(env, std::move(call));
  // The thread-safe function owns the WakeUp too, until Node has taken it down.
  auto owner = std::make_unique<std::shared_ptr<WakeUp>>(wake_up);
  const napi_status status = napi_create_threadsafe_function(
      env, nullptr, nullptr, Napi::String::New(env, name), 0, 1, owner.get(), finalize, owner.get(),
      on_call, &wake_up->function_);
  if (status != napi_ok) {
    Napi::Error::New(env, "Node refused a thread-safe function").ThrowAsJavaScriptException();
    return nullptr;
  }
  static_cast<void>(owner.release());
  napi_unref_threadsafe_function(env, wake_up->function_);
  return wake_up;
}

void WakeUp::finalize(napi_env, void* data, void*) {
  const std::unique_ptr<std::shared_ptr<WakeUp>> owner(static_cast<std::shared_ptr<WakeUp>*>(data));
  (*owner)->closed_ = true;
  (*owner)->call_ = nullptr;  // may own the owner of this WakeUp
}

void WakeUp::wake() {
  if (closed_.load() || woken_.exchange(true)) return;
  napi_call_threadsafe_function(function_, nullptr, napi_tsfn_nonblocking);
}

void WakeUp::on_call(napi_env env, napi_value, void* context, void*) {
  if (env == nullptr || !can_run_js(env)) return;  // the environment is ending
  const std::shared_ptr<WakeUp> wake_up = *static_cast<std::shared_ptr<WakeUp>*>(context);
  wake_up->run(env);
}

void WakeUp::run(Napi::Env env) {
  woken_.store(false);
  if (closed_.load()) return;
  running_ = true;
  call_(env);
  running_ = false;
  if (closed_.load()) call_ = nullptr;
}

void WakeUp::hold(bool keeps_alive) {
  if (closed_.load() || held_ == keeps_alive) return;
  held_ = keeps_alive;
  if (keeps_alive)
    napi_ref_threadsafe_function(env_, function_);
  else
    napi_unref_threadsafe_function(env_, function_);
}

void WakeUp::close() {
  if (closed_.exchange(true)) return;
  if (!running_) call_ = nullptr;
  napi_release_threadsafe_function(function_, napi_tsfn_release);
}

}  // namespace millrace
