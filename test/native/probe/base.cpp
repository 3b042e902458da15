// Probe of the base floor.

#include <cstdlib>
#include <iterator>
#include <string>

#include "base/cpu.h"
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

// setOps(table: string | undefined): MILLRACE_OPS of the process, which a worker's process.env is
// not
void set_ops(const Napi::CallbackInfo& info) {
  if (info[0].IsString())
    setenv("MILLRACE_OPS", std::string(info[0].ToString()).c_str(), 1);
  else
    unsetenv("MILLRACE_OPS");
}

// cpuCounts(): { threads, cores, memoryBytes }, what this process may use
Napi::Value cpu_counts(const Napi::CallbackInfo& info) {
  Napi::Object counts = Napi::Object::New(info.Env());
  counts.Set("threads", cpu().threads);
  counts.Set("cores", cpu().cores);
  counts.Set("memoryBytes", static_cast<double>(cpu().memory_bytes));
  return counts;
}

}  // namespace

void register_base(Napi::Env env, Napi::Object exports) {
  exports.Set("errorCodes", Napi::Function::New(env, error_codes));
  exports.Set("setOps", Napi::Function::New(env, set_ops));
  exports.Set("cpuCounts", Napi::Function::New(env, cpu_counts));
}

}  // namespace millrace
