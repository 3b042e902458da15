#pragma once
// The devices an engine may run on: the CPU, and those of the device library where this
// installation has it. Threads: any.

#include <string>
#include <vector>

#include "base/result.h"
#include "ops/device.h"

namespace millrace {

// Opens "cpu", "cuda" (the first one) or "cuda:<index>" with so many threads of the host (0: as
// many as there are cores). Unsupported without a library or a driver, not-found without that
// device.
Result<std::shared_ptr<Device>> open_device(const std::string& name, int threads);

// What can be opened, "cpu" last; and where there is no CUDA device, why.
struct DeviceList {
  std::vector<DeviceInfo> devices;
  std::string why_no_gpu;
};
DeviceList list_devices();

}  // namespace millrace
