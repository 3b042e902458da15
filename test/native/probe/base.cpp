// Probe of the base floor.

#include <cstdlib>
#include <iterator>
#include <string>

#include "base/json.h"
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

Napi::Value to_js(Napi::Env env, const Json& json) {
  if (const bool* value = json.boolean()) return Napi::Boolean::New(env, *value);
  if (const double* value = json.number()) return Napi::Number::New(env, *value);
  if (const std::string* value = json.string()) return Napi::String::New(env, *value);
  if (const Json::Array* items = json.array()) {
    auto list = Napi::Array::New(env);
    for (const Json& item : *items) list.Set(list.Length(), to_js(env, item));
    return list;
  }
  if (const Json::Object* members = json.object()) {
    auto object = Napi::Object::New(env);
    // Defined, not assigned: "__proto__" is a key like others.
    for (const auto& [key, value] : *members)
      object.DefineProperty(Napi::PropertyDescriptor::Value(
          Napi::String::New(env, key), to_js(env, value), napi_default_jsproperty));
    return object;
  }
  return env.Null();
}

// parseJson(bytes): the value, made again
Napi::Value parse_json(const Napi::CallbackInfo& info) {
  const auto bytes = info[0].As<Napi::Uint8Array>();
  const auto json =
      Json::parse({reinterpret_cast<const char*>(bytes.Data()), bytes.ElementLength()});
  if (!json.ok()) return throw_status(info.Env(), json.status());
  return to_js(info.Env(), *json);
}

// setOps(table: string | undefined): MILLRACE_OPS of the process, which a worker's process.env is
// not
void set_ops(const Napi::CallbackInfo& info) {
  if (info[0].IsString())
    setenv("MILLRACE_OPS", std::string(info[0].ToString()).c_str(), 1);
  else
    unsetenv("MILLRACE_OPS");
}

}  // namespace

void register_base(Napi::Env env, Napi::Object exports) {
  exports.Set("errorCodes", Napi::Function::New(env, error_codes));
  exports.Set("parseJson", Napi::Function::New(env, parse_json));
  exports.Set("setOps", Napi::Function::New(env, set_ops));
}

}  // namespace millrace
