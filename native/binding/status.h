#pragma once
// From the core's errors to JavaScript's: an Error whose `code` is one of errorCodes(), which lib/
// turns into a MillraceError; and the guard that keeps C++ exceptions inside.
// Threads: JS thread only.

#include <napi.h>

#include <exception>
#include <new>
#include <string>

#include "base/result.h"

namespace millrace {

inline Napi::Error to_error(Napi::Env env, const Status& status) {
  Napi::Error error = Napi::Error::New(env, status.message());
  error.Value().Set("code", Napi::String::New(env, name_of(status.code())));
  return error;
}

// Leaves the error pending; the caller returns the empty value to JavaScript at once.
inline Napi::Value throw_status(Napi::Env env, const Status& status) {
  to_error(env, status).ThrowAsJavaScriptException();
  return Napi::Value();
}

// The status of the exception being handled; call it in a catch block only.
inline Status status_of_exception() {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return Status(ErrorCode::out_of_memory, "out of memory");
  } catch (const std::exception& exception) {
    return Status(ErrorCode::internal, std::string("internal error: ") + exception.what());
  } catch (...) {
    return Status(ErrorCode::internal, "internal error: unknown exception");
  }
}

// Every function that JavaScript calls runs inside one of these.
template <class Body>
Napi::Value guarded(Napi::Env env, Body&& body) {
  try {
    return body();
  } catch (...) {
    return throw_status(env, status_of_exception());
  }
}

}  // namespace millrace
