#pragma once
// What JavaScript holds of a native object: a tagged JS object around a shared pointer.
// Invariant: no other object passes for one (the tag is checked at every call); the garbage
// collector only drops the reference, T::abandon doing what little must follow.
// Threads: JS thread only.

#include <napi.h>

#include <memory>

#include "binding/status.h"

namespace millrace {

// T has: static constexpr napi_type_tag k_tag; static constexpr const char* k_name;
// static void abandon(Napi::Env, const std::shared_ptr<T>&).
template <class T>
class Handle {
 public:
  explicit Handle(std::shared_ptr<T> target) : target_(std::move(target)) {}

  static Result<Napi::Value> wrap(Napi::Env env, Napi::Object object, std::shared_ptr<T> target) {
    auto handle = std::make_unique<Handle>(std::move(target));
    if (napi_type_tag_object(env, object, &T::k_tag) != napi_ok ||
        napi_wrap(env, object, handle.get(), finalize, nullptr, nullptr) != napi_ok)
      return error(ErrorCode::internal, "Node refused to wrap a native %s", T::k_name);
    static_cast<void>(handle.release());
    return Result<Napi::Value>(object);
  }

  // Null with a pending TypeError when the value is no such handle.
  static Handle* of(Napi::Env env, Napi::Value value) {
    bool tagged = false;
    void* data = nullptr;
    if (value.IsObject() && napi_check_object_type_tag(env, value, &T::k_tag, &tagged) == napi_ok &&
        tagged && napi_unwrap(env, value, &data) == napi_ok)
      return static_cast<Handle*>(data);
    Napi::TypeError::New(env, std::string("Expected a native ") + T::k_name)
        .ThrowAsJavaScriptException();
    return nullptr;
  }

  // Calls body(T&) on what `this` holds; once closed, throws the code `closed`.
  template <class Body>
  static Napi::Value call(const Napi::CallbackInfo& info, Body&& body) {
    const Napi::Env env = info.Env();
    return guarded(env, [&]() -> Napi::Value {
      Handle* handle = of(env, info.This());
      if (handle == nullptr) return Napi::Value();
      if (!handle->target_)
        return throw_status(env,
                            error(ErrorCode::closed, "the %s is closed: open it again", T::k_name));
      return body(*handle->target_);
    });
  }

  const std::shared_ptr<T>& target() const { return target_; }
  std::shared_ptr<T> take() { return std::move(target_); }  // closed from here on

 private:
  static void finalize(napi_env env, void* data, void*) {
    const std::unique_ptr<Handle> handle(static_cast<Handle*>(data));
    if (handle->target_) T::abandon(env, handle->take());
  }

  std::shared_ptr<T> target_;
};

}  // namespace millrace
