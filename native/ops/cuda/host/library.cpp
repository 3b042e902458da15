// The host form as a device library of its own, for the tests that open one as an engine does.

#include "ops/cuda/host/memory.h"
#include "ops/plugin.h"

namespace millrace::cuda {
namespace {

const bool k_hidden = [] {
  hide_device_memory();
  return true;
}();

// Pulls the table out of the archive that this library is linked from.
[[gnu::used]] const auto k_entry = &millrace_device_v1;

}  // namespace
}  // namespace millrace::cuda
