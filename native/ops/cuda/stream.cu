// Stream over the CUDA runtime. No call here ends the process: each failed one becomes a Status
// with code `device`, or `out-of-memory`.

#include "ops/cuda/stream.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include "ops/cuda/launch.h"
#include "ops/cuda/replay.h"
#include "ops/device.h"

namespace millrace::cuda {
namespace {

bool is_set(const char* variable, std::string_view to) {
  const char* value = std::getenv(variable);
  return value && value == to;
}

constexpr size_t k_staging_bytes = size_t{1} << 20;  // at first
constexpr size_t k_alignment = 256;
constexpr size_t k_default_shared_bytes = 48 * 1024;  // more must be asked for, once per kernel

Status status_of_call(cudaError_t code, const char* what) {
  if (code == cudaSuccess) return {};
  const ErrorCode kind =
      code == cudaErrorMemoryAllocation ? ErrorCode::out_of_memory : ErrorCode::device;
  return error(kind, "%s failed on the CUDA device: %s", what, cudaGetErrorString(code));
}

Status pin(char** memory, size_t size_bytes) {
  return status_of_call(cudaMallocHost(reinterpret_cast<void**>(memory), size_bytes),
                        "pinning host memory");
}

// Host arrays on their way: pinned memory, once for each step that may be, and the device's copy at
// the same offsets, which a step finds free because it starts after the one before has ended.
struct Staging {
  char* pinned = nullptr;
  char* device = nullptr;
  size_t size_bytes = 0;

  char* pinned_of(uint64_t step) const { return pinned + step % k_steps_on_way * size_bytes; }

  Status open(size_t wanted) {
    TRY(pin(&pinned, k_steps_on_way * wanted));
    TRY(status_of_call(cudaMalloc(reinterpret_cast<void**>(&device), wanted),
                       "allocating device memory"));
    size_bytes = wanted;
    return {};
  }
  void close() {
    cudaFree(device);
    cudaFreeHost(pinned);
  }
};

// What comes to the host from an ended step.
struct Ended {
  char* pinned = nullptr;
  size_t room_bytes = 0;
  size_t size_bytes = 0;
  cudaEvent_t has_come = nullptr;
  bool was_started = false;

  Status open() {
    return status_of_call(cudaEventCreateWithFlags(&has_come, cudaEventDisableTiming),
                          "creating an event");
  }
  Status make_room(size_t wanted) {
    if (wanted <= room_bytes) return {};
    cudaFreeHost(std::exchange(pinned, nullptr));
    room_bytes = 0;
    TRY(pin(&pinned, wanted));
    room_bytes = wanted;
    return {};
  }
  void close() {
    cudaFreeHost(pinned);
    if (has_come) cudaEventDestroy(has_come);
  }
};

dim3 dim3_of(const Grid& grid) {
  return {static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y),
          static_cast<unsigned>(grid.z)};
}

// Lets a kernel have its shared memory. The limit belongs to the kernel and the device, whatever
// the stream, so it must only grow: others may have recorded launches that need more.
cudaError_t allow_shared(int device, const Launch& launch) {
  static std::mutex mutex;
  static std::map<std::pair<int, const void*>, size_t> limits;
  const std::scoped_lock lock(mutex);
  size_t& limit = limits[{device, launch.kernel}];
  if (launch.shared_bytes <= limit) return cudaSuccess;
  const cudaError_t code =
      cudaFuncSetAttribute(launch.kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                           static_cast<int>(launch.shared_bytes));
  if (code == cudaSuccess) limit = launch.shared_bytes;
  return code;
}

// A chain of kernels, ready to start. A refusal is no error of the step, which starts without.
class Graph {
 public:
  static std::unique_ptr<Graph> make(Stream& stream, const Launches& launches);
  explicit Graph(Stream& stream) : stream_(stream) {}
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  ~Graph() {
    if (ready_) cudaGraphExecDestroy(ready_);
    if (graph_) cudaGraphDestroy(graph_);
  }

  bool set(size_t i, const Launches& launches) {
    void* arguments[] = {const_cast<void*>(launches.params(i))};
    const cudaKernelNodeParams node = node_of(launches[i], arguments);
    return was_taken(cudaGraphExecKernelNodeSetParams(ready_, nodes_[i], &node));
  }
  bool start();

 private:
  static bool was_taken(cudaError_t code) {
    if (code != cudaSuccess) cudaGetLastError();  // a refusal is not kept for the next call
    return code == cudaSuccess;
  }

  static cudaKernelNodeParams node_of(const Launch& launch, void** arguments) {
    cudaKernelNodeParams node{};
    node.func = const_cast<void*>(launch.kernel);
    node.gridDim = dim3_of(launch.grid);
    node.blockDim = dim3(static_cast<unsigned>(launch.threads));
    node.sharedMemBytes = static_cast<unsigned>(launch.shared_bytes);
    node.kernelParams = arguments;
    return node;
  }

  bool build(const Launches& launches) {
    if (!was_taken(cudaGraphCreate(&graph_, 0))) return false;
    for (size_t i = 0; i < launches.size(); ++i) {
      void* arguments[] = {const_cast<void*>(launches.params(i))};
      const cudaKernelNodeParams params = node_of(launches[i], arguments);
      cudaGraphNode_t node = nullptr;
      if (!was_taken(cudaGraphAddKernelNode(&node, graph_, nullptr, 0, &params))) return false;
      nodes_.push_back(node);
      if (i > 0 && !follow(nodes_[i - 1], node)) return false;
    }
    return was_taken(cudaGraphInstantiate(&ready_, graph_, 0)) && upload();
  }
  bool follow(cudaGraphNode_t before, cudaGraphNode_t node);
  bool upload();  // what needs memory, so that to start it needs none

  Stream& stream_;
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t ready_ = nullptr;
  std::vector<cudaGraphNode_t> nodes_;
};

std::unique_ptr<Graph> Graph::make(Stream& stream, const Launches& launches) {
  auto graph = std::make_unique<Graph>(stream);
  return graph->build(launches) ? std::move(graph) : nullptr;
}

bool passed(Stream& stream, cudaError_t code, const char* what) {
  if (code != cudaSuccess) stream.fail(status_of_call(code, what));
  return code == cudaSuccess;
}

}  // namespace

struct Stream::State {
  int index = 0;
  bool starts_early = false;
  bool has_groups = false;
  cudaStream_t handle = nullptr;
  Status error;
  Step step;
  std::vector<Staging> staging;  // the last one takes what comes
  size_t staged_bytes = 0;       // in use of the last one
  size_t copied_bytes = 0;       // of these, on their way to the device
  std::array<Ended, k_steps_on_way> ended;
  uint64_t n_ended = 0, n_collected = 0;  // steps
  Launches recorded;
  Replay<Graph> replay;
  void* workspace = nullptr;
  size_t workspace_bytes = 0;
  unsigned* counters = nullptr;
  size_t n_counters = 0;
  cudaDeviceProp properties{};

  // Nobody uses what was staged any more: the last piece, which is the largest, is enough.
  void drop_pieces() {
    while (staging.size() > 1) {
      staging.front().close();
      staging.erase(staging.begin());
    }
  }

  void copy_staged(Stream& stream) {
    const size_t count = staged_bytes - copied_bytes;
    const Staging& last = staging.back();
    if (count > 0)
      passed(stream,
             cudaMemcpyAsync(last.device + copied_bytes, last.pinned_of(n_ended) + copied_bytes,
                             count, cudaMemcpyHostToDevice, handle),
             "copying a step's arrays");
    copied_bytes = staged_bytes;
  }

  void start_each(Stream& stream) {
    for (size_t i = 0; i < recorded.size(); ++i) {
      const Launch& launch = recorded[i];
      void* arguments[] = {const_cast<void*>(recorded.params(i))};
      cudaLaunchConfig_t config{};
      config.gridDim = dim3_of(launch.grid);
      config.blockDim = dim3(static_cast<unsigned>(launch.threads));
      config.dynamicSmemBytes = launch.shared_bytes;
      config.stream = handle;
      cudaLaunchAttribute early{};
      early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
      early.val.programmaticStreamSerializationAllowed = 1;
      config.attrs = &early;
      config.numAttrs = starts_early && i > 0 ? 1 : 0;  // the first waits for copies
      if (!passed(stream, cudaLaunchKernelExC(&config, launch.kernel, arguments),
                  "starting a kernel"))
        return;
    }
  }
};

bool Graph::follow(cudaGraphNode_t before, cudaGraphNode_t node) {
  cudaGraphEdgeData edge{};
  if (stream_.state().starts_early) {
    edge.from_port = cudaGraphKernelNodePortProgrammatic;
    edge.type = cudaGraphDependencyTypeProgrammatic;
  }
  return was_taken(cudaGraphAddDependencies(graph_, &before, &node, &edge, 1));
}
bool Graph::upload() { return was_taken(cudaGraphUpload(ready_, stream_.state().handle)); }
bool Graph::start() { return was_taken(cudaGraphLaunch(ready_, stream_.state().handle)); }

Stream::Current::Current(const Stream& stream) {
  cudaGetDevice(&before_);
  if (before_ != stream.state_->index) cudaSetDevice(stream.state_->index);
}
Stream::Current::~Current() {
  int now = before_;
  cudaGetDevice(&now);
  if (now != before_) cudaSetDevice(before_);
}

Stream::Stream() : state_(std::make_unique<State>()) {}

Stream::~Stream() {
  const Current current(*this);
  if (state_->handle) cudaStreamSynchronize(state_->handle);
  state_->replay.clear();
  cudaFree(state_->workspace);
  cudaFree(state_->counters);
  for (Staging& staging : state_->staging) staging.close();
  for (Ended& ended : state_->ended) ended.close();
  if (state_->handle) cudaStreamDestroy(state_->handle);
}

Result<int> Stream::count() {
  int found = 0;
  const cudaError_t code = cudaGetDeviceCount(&found);
  if (code == cudaErrorInsufficientDriver)
    return error(ErrorCode::unsupported, "no NVIDIA driver that CUDA %d.%d can use",
                 CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
  if (code == cudaErrorNoDevice)
    return error(ErrorCode::unsupported, "no NVIDIA device on this machine");
  TRY(status_of_call(code, "counting devices"));
  return found;
}

Result<std::unique_ptr<Stream>> Stream::open(int device_index) {
  auto found = count();
  TRY(found);
  if (device_index < 0 || device_index >= *found)
    return error(ErrorCode::not_found, "Expected a CUDA device below %d but found %d", *found,
                 device_index);
  std::unique_ptr<Stream> stream(new Stream());
  State& state = *stream->state_;
  state.index = device_index;
  const Current current(*stream);
  TRY(status_of_call(cudaSetDevice(device_index), "opening the device"));
  TRY(status_of_call(cudaGetDeviceProperties(&state.properties, device_index),
                     "asking the device for its properties"));
  constexpr int k_least_major = 8;
  if (state.properties.major < k_least_major)
    return error(ErrorCode::unsupported,
                 "Expected compute capability %d.0 or later but %s has %d.%d", k_least_major,
                 state.properties.name, state.properties.major, state.properties.minor);
  // Elsewhere kernels are made from PTX that does not wait for the one before.
  const int major = state.properties.major;
  const bool can_wait = major == 9 || major == 10 || major == 12;
  // Off until a device has shown what it brings.
  state.starts_early = can_wait && is_set("MILLRACE_CUDA_EARLY_STARTS", "1");
  state.has_groups =
      major == 9 && state.properties.minor == 0 && !is_set("MILLRACE_CUDA_GROUPS", "0");
  TRY(status_of_call(cudaStreamCreateWithFlags(&state.handle, cudaStreamNonBlocking),
                     "creating a stream"));
  TRY(state.staging.emplace_back().open(k_staging_bytes));
  for (Ended& ended : state.ended) TRY(ended.open());
  return Result<std::unique_ptr<Stream>>(std::move(stream));
}

DeviceFacts Stream::facts() const {
  const cudaDeviceProp& properties = state_->properties;
  DeviceFacts facts;
  facts.name = properties.name;
  facts.platform = "cuda " + std::to_string(CUDART_VERSION / 1000) + "." +
                   std::to_string(CUDART_VERSION % 1000 / 10) + ", compute capability " +
                   std::to_string(properties.major) + "." + std::to_string(properties.minor);
  if (state_->has_groups) facts.platform += ", warpgroups";
  facts.memory_bytes = properties.totalGlobalMem;
  return facts;
}

size_t Stream::shared_bytes() const { return state_->properties.sharedMemPerBlockOptin; }
int Stream::multiprocessors() const { return state_->properties.multiProcessorCount; }
bool Stream::has_groups() const { return state_->has_groups; }
void Stream::set_groups(Rounding seen) { state_->has_groups &= seen == Rounding::alike; }

// Without what a cache of all the rest would leave no room for: kernels that are loaded when they
// are first used, graphs, the workspace of a long prompt.
size_t Stream::free_bytes() const {
  constexpr size_t k_kept_bytes = size_t{512} << 20;
  size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) return 0;
  return free - std::min(free, k_kept_bytes);
}

void* Stream::alloc(size_t size_bytes) {
  void* memory = nullptr;
  if (cudaMalloc(&memory, size_bytes ? size_bytes : k_alignment) != cudaSuccess) {
    cudaGetLastError();  // a refusal is not kept for the next call
    return nullptr;
  }
  if (!passed(*this, cudaMemsetAsync(memory, 0, size_bytes, state_->handle), "clearing memory")) {
    cudaFree(memory);
    return nullptr;
  }
  return memory;
}

void Stream::release(void* memory) { cudaFree(memory); }

Status Stream::copy(void* to, const void* from, size_t size_bytes) {
  start();
  TRY(status_of_call(cudaMemcpyAsync(to, from, size_bytes, cudaMemcpyDefault, state_->handle),
                     "copying to or from the device"));
  return status_of_call(cudaStreamSynchronize(state_->handle), "copying to or from the device");
}

void Stream::record(const Launch& launch, const void* params, size_t size_bytes) {
  if (launch.shared_bytes > k_default_shared_bytes &&
      !passed(*this, allow_shared(state_->index, launch), "asking for shared memory"))
    return;
  state_->recorded.add(launch, params, size_bytes);
}

Launches& Stream::recorded() { return state_->recorded; }

uint64_t Stream::graph_steps() const { return state_->replay.started(); }
uint64_t Stream::changed_kernels() const { return state_->replay.changed(); }

void Stream::start() {
  State& state = *state_;
  if (state.error.ok()) state.copy_staged(*this);
  if (state.error.ok() && !state.replay.start(*this, state.recorded)) state.start_each(*this);
  state.recorded.clear();
}

// What was staged is in use until the step ends: one that needs more gets another piece.
const void* Stream::stage(const void* from, size_t size_bytes) {
  State& state = *state_;
  if (state.n_ended - state.n_collected == k_steps_on_way) {  // one of them has its place
    fail(too_many_steps());
    return nullptr;
  }
  if (state.staged_bytes + size_bytes > state.staging.back().size_bytes) {
    const size_t least = (size_bytes + k_alignment - 1) / k_alignment * k_alignment;
    const size_t wanted = std::max(2 * state.staging.back().size_bytes, least);
    Staging next;
    const Status opened = next.open(wanted);
    if (!opened.ok()) {
      next.close();
      fail(opened);
      return nullptr;
    }
    state.copy_staged(*this);
    state.staging.push_back(next);
    state.staged_bytes = state.copied_bytes = 0;
  }
  const Staging& staging = state.staging.back();
  const size_t at = state.staged_bytes;
  state.staged_bytes = (at + size_bytes + k_alignment - 1) / k_alignment * k_alignment;
  std::memcpy(staging.pinned_of(state.n_ended) + at, from, size_bytes);
  return staging.device + at;
}

Step& Stream::step() { return state_->step; }

void* Stream::try_workspace(size_t size_bytes) {
  State& state = *state_;
  if (size_bytes <= state.workspace_bytes) return state.workspace;
  wait();  // for what uses it
  cudaFree(state.workspace);
  size_t wanted = size_bytes + size_bytes / 4;
  state.workspace = alloc(wanted);
  if (!state.workspace) state.workspace = alloc(wanted = size_bytes);
  state.workspace_bytes = state.workspace ? wanted : 0;
  return state.workspace;
}

unsigned* Stream::counters(size_t count) {
  State& state = *state_;
  if (count <= state.n_counters) return state.counters;
  wait();
  cudaFree(state.counters);
  state.counters = static_cast<unsigned*>(alloc(count * sizeof(unsigned)));
  state.n_counters = state.counters ? count : 0;
  if (!state.counters) fail(error(ErrorCode::out_of_memory, "cannot allocate %zu counters", count));
  return state.counters;
}

void Stream::fail(Status status) {
  if (state_->error.ok()) state_->error = std::move(status);
}

void Stream::wait() {
  start();
  passed(*this, cudaStreamSynchronize(state_->handle), "waiting for the step");
}

void Stream::end_step(const void* from, size_t size_bytes) {
  start();
  State& state = *state_;
  state.step.forget();
  state.staged_bytes = state.copied_bytes = 0;
  if (state.n_ended - state.n_collected == k_steps_on_way) return fail(too_many_steps());
  Ended& ended = state.ended[state.n_ended++ % k_steps_on_way];
  ended.size_bytes = size_bytes;
  ended.was_started = false;
  Status room = ended.make_room(size_bytes);
  if (!room.ok()) fail(std::move(room));
  if (!state.error.ok()) return;  // which collect() tells
  if (size_bytes > 0 &&
      !passed(*this,
              cudaMemcpyAsync(ended.pinned, from, size_bytes, cudaMemcpyDeviceToHost, state.handle),
              "copying from the device"))
    return;
  ended.was_started =
      passed(*this, cudaEventRecord(ended.has_come, state.handle), "recording an event");
}

Status Stream::collect(void* to) {
  State& state = *state_;
  if (state.n_collected == state.n_ended) return no_step_on_way();
  const Ended& ended = state.ended[state.n_collected++ % k_steps_on_way];
  if (ended.was_started)
    passed(*this, cudaEventSynchronize(ended.has_come), "waiting for the step");
  else
    fail(step_not_started());
  if (state.error.ok() && ended.size_bytes > 0) std::memcpy(to, ended.pinned, ended.size_bytes);
  if (state.n_collected == state.n_ended && state.staged_bytes == 0) state.drop_pieces();
  return take_error();
}

Status Stream::finish() {
  wait();
  State& state = *state_;
  state.step.forget();
  state.n_collected = state.n_ended;
  state.staged_bytes = state.copied_bytes = 0;
  state.drop_pieces();
  return take_error();
}

Status Stream::take_error() { return std::exchange(state_->error, Status()); }

}  // namespace millrace::cuda
