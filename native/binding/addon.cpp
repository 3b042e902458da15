// The addon's exports. State hangs on the environment: workers and several copies of the addon in
// one program do not meet.

#include <napi.h>

#include <iterator>

#include "binding/environment.h"
#include "binding/job.h"
#include "binding/objects.h"
#include "ops/devices.h"

namespace millrace {

namespace {

// errorCodes(): string[], by number
Napi::Value error_codes(const Napi::CallbackInfo& info) {
  auto names = Napi::Array::New(info.Env());
  for (size_t i = 0; i < std::size(k_error_code_names); ++i)
    names.Set(static_cast<uint32_t>(i), Napi::String::New(info.Env(), k_error_code_names[i]));
  return names;
}

Napi::Value describe(Napi::Env env, const DeviceList& found) {
  auto list = Napi::Array::New(env);
  for (const DeviceInfo& device : found.devices) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", device.name);
    object.Set("hardware", device.hardware);
    object.Set("ops", device.ops);
    set_numbers(object, {{"threads", device.threads},
                         {"memoryBytes", device.memory_bytes},
                         {"freeBytes", device.free_bytes}});
    list.Set(list.Length(), object);
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("devices", list);
  if (!found.why_no_gpu.empty()) result.Set("whyNoGpu", found.why_no_gpu);
  return result;
}

// devices(): a job of { devices: { name, hardware, ops, threads, memoryBytes, freeBytes }[],
// whyNoGpu? }, what an engine could run on. Opening a GPU takes a while.
Napi::Value devices(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    return Job::start(info.Env(), [](Job&) -> Job::Settle {
      return [found = list_devices()](Napi::Env env) -> Result<Napi::Value> {
        return describe(env, found);
      };
    });
  });
}

// shutDown(): void; at the program's exit: closes all that is open here and waits for it
Napi::Value shut_down(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    Environment::of(info.Env()).shut_down();
    return info.Env().Undefined();
  });
}

#ifdef MILLRACE_TESTS
// failAllocAfter(n): void; the (n+1)-th device allocation from now fails; negative: none
Napi::Value fail_alloc(const Napi::CallbackInfo& info) {
  fail_alloc_after(info[0].IsNumber() ? info[0].As<Napi::Number>().Int32Value() : -1);
  return info.Env().Undefined();
}

// externalBytes(): number, what the collector was told of in all
Napi::Value external_bytes(const Napi::CallbackInfo& info) {
  int64_t total = 0;
  napi_adjust_external_memory(info.Env(), 0, &total);
  return Napi::Number::New(info.Env(), static_cast<double>(total));
}
#endif

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  Environment::create(env);
  exports.Set("version", "0.1.0");
  exports.Set("errorCodes", Napi::Function::New<error_codes>(env, "errorCodes"));
  exports.Set("devices", Napi::Function::New<devices>(env, "devices"));
  exports.Set("openModel", Napi::Function::New<open_model>(env, "openModel"));
  exports.Set("openEngine", Napi::Function::New<open_engine>(env, "openEngine"));
  exports.Set("shutDown", Napi::Function::New<shut_down>(env, "shutDown"));
#ifdef MILLRACE_TESTS
  exports.Set("failAllocAfter", Napi::Function::New<fail_alloc>(env, "failAllocAfter"));
  exports.Set("externalBytes", Napi::Function::New<external_bytes>(env, "externalBytes"));
#endif
  return exports;
}

}  // namespace

NODE_API_MODULE(millrace, initialize)

}  // namespace millrace
