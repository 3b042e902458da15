#include "ops/plugin.h"

#include <cstdlib>
#include <string_view>

#include "base/cpu.h"
#include "base/thread-pool.h"
#include "ops/memory.h"

#if !defined(_WIN32)
#include <dlfcn.h>
#endif

namespace millrace {
namespace {

constexpr size_t k_message_bytes = 512;

Status status_from(int code, const char* message) {
  return code == 0 ? Status() : Status(static_cast<ErrorCode>(code), message);
}

// The open device of a library. Buffers hold it, so it closes after the last of them.
struct Opened {
  const Plugin* plugin = nullptr;
  int index = 0;
  void* device = nullptr;

  ~Opened() {
    if (device) plugin->close(device);
  }
};

// Operators are given a Queue; this one knows where its device is.
class PluginQueue : public Queue {
 public:
  PluginQueue(ThreadPool* pool, const Opened& opened) : Queue(pool), opened_(opened) {}

  template <auto member, class Args>
  static void run(Queue& queue, const Args& args) {
    const Opened& opened = static_cast<PluginQueue&>(queue).opened_;
    (opened.plugin->*member)(opened.device, args);
  }

 private:
  const Opened& opened_;
};

Ops ops_of(const Plugin& plugin) {
  return {plugin.name,
          plugin.packed_bytes,
          plugin.pack,
          plugin.pack_rows,
          plugin.kv_page_bytes,
          PluginQueue::run<&Plugin::embed, EmbedArgs>,
          PluginQueue::run<&Plugin::norm, NormArgs>,
          PluginQueue::run<&Plugin::matmul, MatmulArgs>,
          PluginQueue::run<&Plugin::rope, RopeArgs>,
          PluginQueue::run<&Plugin::store, StoreArgs>,
          PluginQueue::run<&Plugin::attention, AttentionArgs>,
          PluginQueue::run<&Plugin::gate, GateArgs>,
          PluginQueue::run<&Plugin::add, AddArgs>,
          PluginQueue::run<&Plugin::gather, GatherArgs>,
          PluginQueue::run<&Plugin::top_k, TopKArgs>,
          PluginQueue::run<&Plugin::sample, SampleArgs>};
}

Status matching(const Plugin* plugin) {
  if (plugin && plugin->size_bytes == sizeof(Plugin) && plugin->layout == plugin_layout())
    return {};
  return error(ErrorCode::unsupported, "the device library was built for another version");
}

class PluginDevice : public Device {
 public:
  PluginDevice(std::shared_ptr<Opened> opened, int threads)
      : opened_(std::move(opened)),
        ops_(ops_of(*opened_->plugin)),
        pool_(threads),
        queue_(&pool_, *opened_) {
    const char* wanted = std::getenv("MILLRACE_CUDA_AHEAD");
    runs_ahead_ = !wanted || std::string_view(wanted) != "0";
  }

  DeviceInfo info() const override {
    PluginInfo found{};
    opened_->plugin->info(opened_->device, &found);
    return {std::string(ops_.name) + ":" + std::to_string(opened_->index),
            std::string(found.name) + " (" + found.platform + ")",
            ops_.name,
            pool_.size(),
            found.memory_bytes,
            found.free_bytes,
            found.graph_steps,
            found.changed_kernels};
  }
  const Ops& ops() const override { return ops_; }
  Queue& queue() override { return queue_; }
  int rows_for(int n) const override { return rounded_up(n); }

  Result<Buffer> alloc(size_t size_bytes, const char* what) override {
    void* memory =
        allocation_refused() ? nullptr : opened_->plugin->alloc(opened_->device, size_bytes);
    if (!memory) {
      TRY(finish());  // a lost device refuses too
      return error(ErrorCode::out_of_memory, "cannot allocate %zu bytes for %s", size_bytes, what);
    }
    const auto release = [opened = opened_](void* p) {
      opened->plugin->release(opened->device, p);
    };
    return Buffer({memory, release}, size_bytes);
  }

  bool shares_host_memory() const override { return false; }
  Status copy(void* to, const void* from, size_t size_bytes) override {
    char message[k_message_bytes] = "";
    return status_from(
        opened_->plugin->copy(opened_->device, to, from, size_bytes, message, sizeof message),
        message);
  }

  Status finish() override {
    char message[k_message_bytes] = "";
    const int code = opened_->plugin->finish(opened_->device, message, sizeof message);
    return first_error(code, message);
  }

  // MILLRACE_CUDA_AHEAD=0: steps one by one, to see what the other way brings.
  bool runs_ahead() const override { return runs_ahead_; }
  void end_step(const void* from, size_t size_bytes) override {
    opened_->plugin->end_step(opened_->device, from, size_bytes);
  }
  Status collect(void* to) override {
    char message[k_message_bytes] = "";
    const int code = opened_->plugin->collect(opened_->device, to, message, sizeof message);
    return first_error(code, message);
  }

 private:
  Status first_error(int code, const char* message) {
    Status own = queue_.take_error();
    return own.ok() ? status_from(code, message) : own;
  }

  std::shared_ptr<Opened> opened_;
  Ops ops_;
  ThreadPool pool_;
  PluginQueue queue_;
  bool runs_ahead_;
};

}  // namespace

Result<const Plugin*> load_plugin(const std::string& path) {
#if defined(_WIN32)
  return error(ErrorCode::unsupported, "no device library for this platform: %s", path.c_str());
#else
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) return error(ErrorCode::unsupported, "%s", dlerror());
  using Entry = const Plugin* (*)();
  const auto entry = reinterpret_cast<Entry>(dlsym(library, "millrace_device_v1"));
  if (!entry)
    return error(ErrorCode::unsupported, "%s is no device library of this package", path.c_str());
  const Plugin* plugin = entry();
  TRY(matching(plugin));
  return plugin;
#endif
}

Result<std::shared_ptr<Device>> open_plugin(const Plugin* plugin, int index, int threads) {
  TRY(matching(plugin));
  auto opened = std::make_shared<Opened>();
  opened->plugin = plugin;
  opened->index = index;
  char message[k_message_bytes] = "";
  TRY(status_from(plugin->open(index, &opened->device, message, sizeof message), message));
  return std::shared_ptr<Device>(
      std::make_shared<PluginDevice>(std::move(opened), threads > 0 ? threads : cpu().cores));
}

}  // namespace millrace
