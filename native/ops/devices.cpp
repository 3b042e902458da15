#include "ops/devices.h"

#include <charconv>
#include <cstdlib>
#include <filesystem>

#include "ops/plugin.h"

#if !defined(_WIN32)
#include <dlfcn.h>
#endif

namespace millrace {
namespace {

constexpr char k_library_name[] = "libmillrace-cuda.so";

// Beside the addon, or where MILLRACE_CUDA_LIBRARY says; empty: this installation has none.
std::string library_path() {
  const char* chosen = std::getenv("MILLRACE_CUDA_LIBRARY");
  if (chosen && *chosen) return chosen;
#if !defined(_WIN32)
  Dl_info here{};
  if (dladdr(reinterpret_cast<const void*>(&library_path), &here) && here.dli_fname) {
    const auto path = std::filesystem::path(here.dli_fname).parent_path() / k_library_name;
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) return path.string();
  }
#endif
  return "";
}

Result<const Plugin*> library() {
  const std::string path = library_path();
  if (path.empty())
    return error(ErrorCode::unsupported, "this installation has no %s", k_library_name);
  return load_plugin(path);
}

Result<int> count_of(const Plugin& plugin) {
  char message[512] = "";
  int count = 0;
  const int code = plugin.count(message, sizeof message, &count);
  if (code != 0) return Status(static_cast<ErrorCode>(code), message);
  return count;
}

// "cuda" or "cuda:<index>"; -1: neither.
int cuda_index(const std::string& name) {
  constexpr std::string_view k_prefix = "cuda:";
  if (name == "cuda") return 0;
  if (!name.starts_with(k_prefix)) return -1;
  int index = -1;
  const char* end = name.data() + name.size();
  const auto [rest, fault] = std::from_chars(name.data() + k_prefix.size(), end, index);
  return fault == std::errc() && rest == end ? index : -1;
}

}  // namespace

Result<std::shared_ptr<Device>> open_device(const std::string& name, int threads) {
  if (name == "cpu") return open_cpu({threads, ""});
  const int index = cuda_index(name);
  if (index < 0)
    return error(ErrorCode::invalid_argument,
                 "Expected \"device\" to be \"cpu\", \"cuda\" or \"cuda:<index>\" but received "
                 "\"%s\"",
                 name.c_str());
  auto plugin = library();
  TRY(plugin);
  return open_plugin(*plugin, index, threads);
}

DeviceList list_devices() {
  DeviceList list;
  const auto plugin = library();
  const auto count = plugin.ok() ? count_of(**plugin) : Result<int>(plugin.status());
  Status status = count.status();
  for (int i = 0; count.ok() && i < *count; ++i) {
    const auto device = open_plugin(*plugin, i, 1);
    if (device.ok()) list.devices.push_back((*device)->info());
    if (!device.ok()) status = device.status();
  }
  if (list.devices.empty()) list.why_no_gpu = status.message();
  const auto cpu = open_cpu({});
  if (cpu.ok()) list.devices.push_back((*cpu)->info());
  return list;
}

}  // namespace millrace
