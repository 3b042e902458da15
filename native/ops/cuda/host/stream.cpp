// A device made of host memory, on which the runner executes the kernels.

#include "ops/cuda/stream.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <vector>

#include "base/cpu.h"
#include "ops/cuda/host/memory.h"
#include "ops/cuda/launch.h"
#include "ops/cuda/replay.h"
#include "ops/device.h"

namespace millrace::cuda {

namespace {

// Two devices of the same kind, so that a call on the wrong one shows.
constexpr int k_devices = 2;
thread_local int current_device = 0;

// Of MILLRACE_CUDA_GROUPS: as if warpgroups rounded otherwise than warps.
constexpr int64_t k_unlike = 2;

// A number that a test sets; negative: it does not.
int64_t variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? std::strtoll(value, nullptr, 10) : -1;
}

// A launch that is no kernel: it has no threads.
struct Poison {
  void* memory;
  size_t size_bytes;
  static void spill(const void*, const void* params) {
    const Poison& poison = *static_cast<const Poison*>(params);
    std::memset(poison.memory, 0xff, poison.size_bytes);
  }
};

// A list of its own, which runs with the parameters that it was given.
class Graph {
 public:
  static std::unique_ptr<Graph> make(Stream& stream, const Launches& launches) {
    return std::make_unique<Graph>(stream, launches);
  }
  Graph(Stream& stream, const Launches& launches) : stream_(stream), launches_(launches) {}
  bool set(size_t i, const Launches& launches) { return launches_.take_params(i, launches); }
  bool start();

 private:
  Stream& stream_;
  Launches launches_;
};

using Staged = std::vector<std::unique_ptr<char[]>>;

// A step that was ended. It runs at once or when somebody waits: a coin says which.
struct Ended {
  Launches launches;
  Staged staged;
  const void* from;
  std::vector<char> came;
  bool has_run = false, was_started = false;
};

}  // namespace

struct Stream::State {
  int index = 0;
  Status error;
  Step step;
  Staged staged;
  std::deque<Ended> ended;
  void* workspace = nullptr;
  size_t workspace_bytes = 0;
  unsigned* counters = nullptr;
  size_t n_counters = 0;
  Launches recorded;
  Replay<Graph> replay;
  uint64_t launches = 0;
  bool has_groups = true;
  int64_t steps_left = -1;  // before the device is lost; negative: it is not
  int64_t bytes_left = -1;  // that may still be allocated; negative: as many as there are

  // Of two kernels the second often starts first, and has the first run when it waits for it.
  void run(Stream& stream, const Launches& list) {
    for (size_t i = 0; i < list.size() && error.ok(); ++i) {
      const bool is_pair = i + 1 < list.size() && list[i].threads > 0 && list[i + 1].threads > 0;
      const size_t first = i;
      if (!is_pair || (host_schedule().seed + launches) % 3 == 0)
        run_one(stream, list, i, [] {});
      else
        run_one(stream, list, ++i, [&, first] { run_one(stream, list, first, [] {}); });
    }
  }

  void start(Stream& stream, const Launches& list) {
    if (error.ok() && !replay.start(stream, list)) run(stream, list);
  }

  // All steps before an ended one have run.
  void start(Stream& stream, Ended& step) {
    if (std::exchange(step.has_run, true)) return;
    step.was_started = error.ok();
    start(stream, step.launches);
    const Access access;
    if (!step.came.empty()) std::memcpy(step.came.data(), step.from, step.came.size());
  }

  // What is seen when a step was waited for.
  Status end(Stream& stream) {
    const Access access;
    for (size_t i = 0; i < n_counters; ++i) {
      if (counters[i] != 0)
        stream.fail(
            millrace::error(ErrorCode::internal, "counter %zu was left at %u", i, counters[i]));
      counters[i] = 0;
    }
    if (steps_left == 0) stream.fail(millrace::error(ErrorCode::device, "the device was lost"));
    if (steps_left > 0) --steps_left;
    return stream.take_error();
  }

  void run_one(Stream& stream, const Launches& list, size_t i,
               const std::function<void()>& earlier) {
    const Access access;
    const Launch& launch = list[i];
    const void* params = list.params(i);
    if (launch.threads == 0) return launch.call(launch.kernel, params);
    simt::Schedule schedule = host_schedule();
    schedule.earlier = &earlier;
    schedule.seed = schedule.seed * 1000003 + launches++;
    ++host_kernels();
    const simt::Index blocks{static_cast<unsigned>(launch.grid.x),
                             static_cast<unsigned>(launch.grid.y),
                             static_cast<unsigned>(launch.grid.z)};
    const Status status = simt::run(
        blocks, {static_cast<unsigned>(launch.threads), 1, 1}, launch.shared_bytes,
        [&] { launch.call(launch.kernel, params); }, schedule);
    if (!status.ok()) stream.fail(status);
  }
};

bool Graph::start() {
  stream_.state().run(stream_, launches_);
  return true;
}

Stream::Current::Current(const Stream& stream)
    : before_(std::exchange(current_device, stream.state_->index)) {}
Stream::Current::~Current() { current_device = before_; }

Stream::Stream() : state_(std::make_unique<State>()) {}
Stream::~Stream() {
  release(state_->workspace);
  release(state_->counters);
}

Result<int> Stream::count() { return k_devices; }

Result<std::unique_ptr<Stream>> Stream::open(int device_index) {
  if (device_index < 0 || device_index >= k_devices)
    return error(ErrorCode::not_found, "Expected a device below %d but found %d", k_devices,
                 device_index);
  std::unique_ptr<Stream> stream(new Stream());
  stream->state_->index = device_index;
  stream->state_->steps_left = variable("MILLRACE_LOSE_DEVICE_AFTER");
  stream->state_->has_groups = variable("MILLRACE_CUDA_GROUPS") != 0;
  stream->state_->bytes_left = variable("MILLRACE_DEVICE_BYTES");
  return Result<std::unique_ptr<Stream>>(std::move(stream));
}

DeviceFacts Stream::facts() const {
  return {"host form of the CUDA kernels", state_->has_groups ? "runner, warpgroups" : "runner",
          cpu().memory_bytes};
}
size_t Stream::shared_bytes() const { return simt::k_max_shared_bytes; }
int Stream::multiprocessors() const { return 3; }  // few, so that blocks have more to do than one
bool Stream::has_groups() const { return state_->has_groups; }
void Stream::set_groups(Rounding seen) {
  const bool is_asked_for = variable("MILLRACE_CUDA_GROUPS") == k_unlike;
  state_->has_groups &= seen == Rounding::alike && !is_asked_for;
  if (seen == Rounding::unlike)  // never here: a kernel or the runner is wrong
    fail(error(ErrorCode::internal, "warpgroups round otherwise than warps"));
}

size_t Stream::free_bytes() const {
  const int64_t left = state_->bytes_left;
  return left < 0 ? free_memory_bytes() : std::min(free_memory_bytes(), static_cast<size_t>(left));
}

void* Stream::alloc(size_t size_bytes) {
  int64_t& left = state_->bytes_left;
  if (left >= 0 && static_cast<int64_t>(size_bytes) > left) return nullptr;
  if (left >= 0) left -= static_cast<int64_t>(size_bytes);
  return take_memory(size_bytes);
}
void Stream::release(void* memory) { give_memory(memory); }

Status Stream::copy(void* to, const void* from, size_t size_bytes) {
  start();
  const Access access;
  std::memcpy(to, from, size_bytes);
  return {};
}

const void* Stream::stage(const void* from, size_t size_bytes) {
  if (state_->ended.size() == k_steps_on_way) {
    fail(too_many_steps());
    return nullptr;
  }
  auto copy = std::make_unique<char[]>(size_bytes);
  if (size_bytes) std::memcpy(copy.get(), from, size_bytes);
  state_->staged.push_back(std::move(copy));
  return state_->staged.back().get();
}

Step& Stream::step() { return state_->step; }

void Stream::record(const Launch& launch, const void* params, size_t size_bytes) {
  if (current_device != state_->index)
    return fail(error(ErrorCode::internal, "a kernel of device %d was started on device %d",
                      state_->index, current_device));
  state_->recorded.add(launch, params, size_bytes);
}

Launches& Stream::recorded() { return state_->recorded; }

uint64_t Stream::graph_steps() const { return state_->replay.started(); }
uint64_t Stream::changed_kernels() const { return state_->replay.changed(); }

void Stream::start() {
  State& state = *state_;
  for (Ended& step : state.ended) state.start(*this, step);
  state.start(*this, state.recorded);
  state.recorded.clear();
}

void Stream::end_step(const void* from, size_t size_bytes) {
  State& state = *state_;
  state.step.forget();
  if (state.ended.size() == k_steps_on_way) return fail(too_many_steps());
  state.ended.push_back({std::exchange(state.recorded, {}), std::exchange(state.staged, {}), from,
                         std::vector<char>(size_bytes)});
  if ((host_schedule().seed + state.launches) % 2 == 0) start();
}

Status Stream::collect(void* to) {
  State& state = *state_;
  if (state.ended.empty()) return no_step_on_way();
  Ended& step = state.ended.front();
  state.start(*this, step);
  if (!step.was_started) fail(step_not_started());
  std::copy(step.came.begin(), step.came.end(), static_cast<char*>(to));
  state.ended.pop_front();
  return state.end(*this);
}

// NaN in every float type, so that a kernel that reads what it did not write shows.
void* Stream::try_workspace(size_t size_bytes) {
  if (size_bytes > state_->workspace_bytes) {
    start();
    release(state_->workspace);
    state_->workspace = alloc(size_bytes);
    state_->workspace_bytes = state_->workspace ? size_bytes : 0;
  }
  if (!state_->workspace) return nullptr;
  const Poison poison{state_->workspace, state_->workspace_bytes};
  record({nullptr, Poison::spill, {}, 0, 0}, &poison, sizeof poison);
  return state_->workspace;
}

unsigned* Stream::counters(size_t count) {
  if (count > state_->n_counters) {
    start();
    release(state_->counters);
    state_->counters = static_cast<unsigned*>(alloc(count * sizeof(unsigned)));
    state_->n_counters = state_->counters ? count : 0;
    if (!state_->counters)
      fail(error(ErrorCode::out_of_memory, "cannot allocate %zu counters", count));
  }
  return state_->counters;
}

void Stream::fail(Status status) {
  if (state_->error.ok()) state_->error = std::move(status);
}

Status Stream::finish() {
  start();
  state_->staged.clear();
  state_->ended.clear();
  state_->step.forget();
  return state_->end(*this);
}

Status Stream::take_error() { return std::exchange(state_->error, Status()); }

simt::Schedule& host_schedule() {
  static simt::Schedule schedule;
  return schedule;
}

std::atomic<uint64_t>& host_kernels() {
  static std::atomic<uint64_t> count = 0;
  return count;
}

}  // namespace millrace::cuda
