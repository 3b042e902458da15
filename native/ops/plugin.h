#pragma once
// The C border to a device library that is built apart and loaded when present: one exported
// function that gives a table of functions. Built from the same sources as the addon; what differs
// in the sizes of anything that crosses is refused (`size_bytes` and `layout`). Functions do not
// throw; what can fail returns an ErrorCode as int and puts a message in the caller's buffer.
// Operators return nothing: the first error is kept by the device and reported by finish, as in
// ops.h. Threads: as device.h says of Device.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "ops/device.h"

namespace millrace {

struct PluginInfo {
  char name[128];      // of the hardware
  char platform[128];  // what drives it, for people to read
  uint64_t memory_bytes;
  uint64_t free_bytes;
  uint64_t graph_steps;      // steps started as one graph, since it was opened
  uint64_t changed_kernels;  // of theirs, that had to be given new parameters
};

struct Plugin {
  size_t size_bytes;  // of this struct
  uint64_t layout;    // plugin_layout() of the build that made it
  const char* name;   // of the operator table: "cuda"

  int (*count)(char* message, size_t message_bytes, int* count);  // devices of this machine
  int (*open)(int index, void** device, char* message, size_t message_bytes);
  void (*close)(void* device);
  void (*info)(void* device, PluginInfo* info);
  void* (*alloc)(void* device, size_t size_bytes);  // zeroed; null when refused
  void (*release)(void* device, void* memory);
  int (*copy)(void* device, void* to, const void* from, size_t size_bytes, char* message,
              size_t message_bytes);
  int (*finish)(void* device, char* message, size_t message_bytes);
  void (*end_step)(void* device, const void* from, size_t size_bytes);
  int (*collect)(void* device, void* to, char* message, size_t message_bytes);

  size_t (*packed_bytes)(DType dtype, int rows, int cols);
  void (*pack)(const Weight& plain, void* packed, int first_row, int n_rows);
  int pack_rows;
  size_t (*kv_page_bytes)(const KvShape& shape);

  void (*embed)(void* device, const EmbedArgs& args);
  void (*norm)(void* device, const NormArgs& args);
  void (*matmul)(void* device, const MatmulArgs& args);
  void (*rope)(void* device, const RopeArgs& args);
  void (*store)(void* device, const StoreArgs& args);
  void (*attention)(void* device, const AttentionArgs& args);
  void (*gate)(void* device, const GateArgs& args);
  void (*add)(void* device, const AddArgs& args);
  void (*gather)(void* device, const GatherArgs& args);
  void (*top_k)(void* device, const TopKArgs& args);
  void (*sample)(void* device, const SampleArgs& args);
};

// A number that changes with the sizes of everything that crosses the border.
constexpr uint64_t plugin_layout() {
  uint64_t hash = 1469598103934665603u;
  for (const size_t size :
       {sizeof(PluginInfo), sizeof(Weight), sizeof(KvShape), sizeof(EmbedArgs), sizeof(NormArgs),
        sizeof(MatmulArgs), sizeof(RopeArgs), sizeof(StoreArgs), sizeof(AttentionArgs),
        sizeof(GateArgs), sizeof(AddArgs), sizeof(GatherArgs), sizeof(TopKArgs), sizeof(SampleArgs),
        sizeof(SampleQuery), sizeof(LogitChange), sizeof(SampleResult), std::size(k_dtypes)})
    hash = (hash ^ size) * 1099511628211u;
  return hash;
}

// n or, of up to k_most_rounded, the next of few numbers, at most a quarter above: steps whose
// parts have such sizes find the graph of an earlier one. 1 to 8, 10, 12, 14, 16, 20, 24, 28, 32,
// 40, ...
constexpr int k_most_rounded = 512;
constexpr int rounded_up(int n) {
  if (n <= 0 || n > k_most_rounded) return n;
  const int octave = static_cast<int>(std::bit_ceil(static_cast<unsigned>(n)));
  const int unit = octave < 16 ? 1 : octave / 8;
  return (n + unit - 1) / unit * unit;
}

// The table of the library at path, which stays loaded. Unsupported with the loader's reason, or
// when it was built for another version.
Result<const Plugin*> load_plugin(const std::string& path);

// A device of a library's table, with as many workers for what the host does beside it (0: as many
// as it has cores). The table outlives the device.
Result<std::shared_ptr<Device>> open_plugin(const Plugin* plugin, int index, int threads);

}  // namespace millrace

// What the library exports: its one symbol.
extern "C" const millrace::Plugin* millrace_device_v1();
