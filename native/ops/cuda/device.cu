// The table that the library exports: operators.h over streams, behind the C border of plugin.h.

#include <cstdio>

#include "ops/cuda/operators.h"
#include "ops/cuda/packed.h"
#include "ops/plugin.h"

namespace millrace::cuda {
namespace {

Stream& stream_of(void* device) { return *static_cast<Stream*>(device); }

int report(const Status& status, char* message, size_t message_bytes) {
  if (!status.ok()) std::snprintf(message, message_bytes, "%s", status.message().c_str());
  return static_cast<int>(status.code());
}

int count(char* message, size_t message_bytes, int* count) {
  auto found = Stream::count();
  if (found.ok()) *count = *found;
  return report(found.status(), message, message_bytes);
}

// What a call does on the device of its stream.
template <class F>
auto on(void* device, const F& body) {
  const Stream::Current current(stream_of(device));
  return body(stream_of(device));
}

int open(int index, void** device, char* message, size_t message_bytes) {
  auto stream = Stream::open(index);
  if (!stream.ok()) return report(stream.status(), message, message_bytes);
  const Status checked = on(stream->get(), [](Stream& one) { return check_groups(one); });
  if (checked.ok()) *device = stream->release();
  return report(checked, message, message_bytes);
}

void close(void* device) { std::unique_ptr<Stream>(&stream_of(device)).reset(); }

void info(void* device, PluginInfo* info) {
  const Stream::Current current(stream_of(device));
  const DeviceFacts facts = stream_of(device).facts();
  std::snprintf(info->name, sizeof info->name, "%s", facts.name.c_str());
  std::snprintf(info->platform, sizeof info->platform, "%s", facts.platform.c_str());
  info->memory_bytes = facts.memory_bytes;
  info->free_bytes = stream_of(device).free_bytes();
  info->graph_steps = stream_of(device).graph_steps();
  info->changed_kernels = stream_of(device).changed_kernels();
}

void* alloc(void* device, size_t size_bytes) {
  return on(device, [&](Stream& stream) { return stream.alloc(size_bytes); });
}
void release(void* device, void* memory) {
  on(device, [&](Stream& stream) { stream.release(memory); });
}

int copy(void* device, void* to, const void* from, size_t size_bytes, char* message,
         size_t message_bytes) {
  const auto body = [&](Stream& stream) { return stream.copy(to, from, size_bytes); };
  return report(on(device, body), message, message_bytes);
}
int finish(void* device, char* message, size_t message_bytes) {
  return report(on(device, [](Stream& stream) { return stream.finish(); }), message, message_bytes);
}
void end_step(void* device, const void* from, size_t size_bytes) {
  on(device, [&](Stream& stream) { stream.end_step(from, size_bytes); });
}
int collect(void* device, void* to, char* message, size_t message_bytes) {
  const auto body = [to](Stream& stream) { return stream.collect(to); };
  return report(on(device, body), message, message_bytes);
}

template <auto operation, class Args>
void run(void* device, const Args& args) {
  on(device, [&](Stream& stream) { operation(stream, args); });
}

constexpr Plugin k_plugin = {
    sizeof(Plugin),
    plugin_layout(),
    "cuda",
    count,
    open,
    close,
    info,
    alloc,
    release,
    copy,
    finish,
    end_step,
    collect,
    packed_bytes,
    pack,
    k_band,
    kv_page_bytes,
    run<embed, EmbedArgs>,
    run<norm, NormArgs>,
    run<matmul, MatmulArgs>,
    run<rope, RopeArgs>,
    run<store, StoreArgs>,
    run<attention, AttentionArgs>,
    run<gate, GateArgs>,
    run<add, AddArgs>,
    run<gather, GatherArgs>,
    run<top_k, TopKArgs>,
    run<sample, SampleArgs>,
};

}  // namespace
}  // namespace millrace::cuda

extern "C" [[gnu::visibility("default")]] const millrace::Plugin* millrace_device_v1() {
  return &millrace::cuda::k_plugin;
}
