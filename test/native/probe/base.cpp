// Probe of the base floor.

#include <iterator>

#include "base/result.h"
#include "probe.h"

namespace millrace {

namespace {

Napi::Value error_codes(const Napi::CallbackInfo& info) {
  auto names = Napi::Array::New(info.Env());
  for (size_t i = 0; i < std::size(k_error_code_names); ++i) {
    names.Set(static_cast<uint32_t>(i), Napi::String::New(info.Env(), k_error_code_names[i]));
  }
  return names;
}

}  // namespace

void register_base(Napi::Env env, Napi::Object exports) {
  exports.Set("errorCodes", Napi::Function::New(env, error_codes));
}

}  // namespace millrace
