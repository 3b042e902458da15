#pragma once
// Devices by the name of their operator table, the host form of the CUDA kernels among them.
// Threads: JS thread only.

#include <memory>
#include <string>
#include <vector>

#include "ops/device.h"
#include "ops/plugin.h"

namespace millrace {

inline std::vector<std::string> device_tables() {
  std::vector<std::string> names = cpu_tables();
#if MILLRACE_CUDA_HOST
  names.push_back("cuda");
#endif
  return names;
}

inline Result<std::shared_ptr<Device>> open_table(const std::string& table, int threads) {
#if MILLRACE_CUDA_HOST
  if (table == "cuda") return open_plugin(millrace_device_v1(), 0, threads);
#endif
  return open_cpu({threads, table.c_str()});
}

}  // namespace millrace
