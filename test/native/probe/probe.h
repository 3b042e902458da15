#pragma once
// What every file of the probe needs: Napi, errors as exceptions, numbers as typed arrays.
// test/native/probe/<name>.cpp defines void register_<name>(Napi::Env, Napi::Object).
// Threads: JS thread only.

#include <napi.h>

#include <algorithm>
#include <span>
#include <vector>

#include "base/result.h"

namespace millrace {

// Throws an Error whose code and message are the status's; returns undefined.
inline Napi::Value throw_status(Napi::Env env, const Status& status) {
  Napi::Error error = Napi::Error::New(env, status.message());
  error.Set("code", Napi::String::New(env, name_of(status.code())));
  error.ThrowAsJavaScriptException();
  return env.Undefined();
}

inline Napi::Value to_array(Napi::Env env, std::span<const float> values) {
  auto array = Napi::Float32Array::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

inline Napi::Value to_array(Napi::Env env, std::span<const int32_t> values) {
  auto array = Napi::Int32Array::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

inline Napi::Value to_array(Napi::Env env, std::span<const uint8_t> values) {
  auto array = Napi::Uint8Array::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

}  // namespace millrace
