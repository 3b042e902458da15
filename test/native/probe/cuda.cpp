// Probe of the runner of kernels: its schedule, the faults that can be seeded, and small kernels
// that are wrong in one way each.

#include "probe.h"

#if MILLRACE_CUDA_HOST

#include <cstdlib>
#include <map>
#include <string>

#include "ops/cuda/launch.h"
#include "ops/cuda/replay.h"

namespace millrace {
namespace {

using namespace cuda;  // the names of kernels

std::set<simt::Site> seen_sites;
simt::Site skipped_site;

// cudaSchedule(seed, osThreads): how the host form runs from now on.
Napi::Value set_schedule(const Napi::CallbackInfo& info) {
  host_schedule().seed = static_cast<uint64_t>(info[0].ToNumber().Int64Value());
  host_schedule().os_threads = info[1].ToNumber();
  return info.Env().Undefined();
}

// cudaGroups(how): 1, streams opened from now on may multiply by warpgroups; 0, they may not; 2, it
// is as if they rounded otherwise than warps.
Napi::Value groups(const Napi::CallbackInfo& info) {
  ::setenv("MILLRACE_CUDA_GROUPS", info[0].ToString().Utf8Value().c_str(), 1);
  return info.Env().Undefined();
}

// cudaKernels(): number, how many have run.
Napi::Value kernels(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(host_kernels().load()));
}

// cudaSites(collect): { kind, file, line }[], the barriers and waits passed since collecting began.
Napi::Value sites(const Napi::CallbackInfo& info) {
  auto list = Napi::Array::New(info.Env());
  for (const simt::Site& site : seen_sites) {
    auto object = Napi::Object::New(info.Env());
    object.Set("kind", site.kind == simt::Site::Kind::wait ? "wait" : "barrier");
    object.Set("file", site.file);
    object.Set("line", site.line);
    list.Set(list.Length(), object);
  }
  seen_sites.clear();
  host_schedule().sites = info[0].ToBoolean() ? &seen_sites : nullptr;
  return list;
}

// cudaSkip(site?): takes one barrier or wait out of the kernels.
Napi::Value skip(const Napi::CallbackInfo& info) {
  host_schedule().skipped = nullptr;
  if (!info[0].IsObject()) return info.Env().Undefined();
  const auto object = info[0].As<Napi::Object>();
  const bool wait = object.Get("kind").ToString().Utf8Value() == "wait";
  skipped_site = {wait ? simt::Site::Kind::wait : simt::Site::Kind::barrier,
                  object.Get("file").ToString().Utf8Value(),
                  object.Get("line").ToNumber().Uint32Value()};
  host_schedule().skipped = &skipped_site;
  return info.Env().Undefined();
}

// Each is run by 64 threads with 256 bytes of shared memory.
const std::map<std::string, void (*)()> k_wrong_kernels = {
    {"none", [] { __syncthreads(); }},
    {"lanes of a warp meet at two places",
     [] {
       if (threadIdx.x % 2)
         __syncwarp();
       else
         shuffle(1, 0);
     }},
    {"threads of a block meet at two places",
     [] {
       if (threadIdx.x < 32)  // NOLINT(bugprone-branch-clone): the two lines are the point
         __syncthreads();
       else
         __syncthreads();
     }},
    {"a lane leaves before its warp meets",
     [] {
       if (threadIdx.x != 5) __syncwarp();
     }},
    {"one warp waits for the block, the other for a lane that does",
     [] {
       if (threadIdx.x < 33) __syncthreads();
       if (threadIdx.x >= 32) __syncwarp();
     }},
    {"a copy to an odd address",
     [] {
       alignas(16) static const char from[32] = {};
       copy_async_16(shared_memory() + 8, from, true);
     }},
    {"an arrival at a barrier that was not opened",
     [] { arrive(reinterpret_cast<Phase*>(shared_memory())); }},
    {"an arrival more than the barrier was opened for",
     [] {
       auto* phase = reinterpret_cast<Phase*>(shared_memory());
       if (threadIdx.x > 0) return;
       open_phase(phase, 1);
       arrive_and_expect(phase, 16);
       arrive(phase);
     }},
    {"a barrier beyond shared memory",
     [] { open_phase(reinterpret_cast<Phase*>(shared_memory() + 256), 1); }},
    {"a bulk copy beyond shared memory",
     [] {
       alignas(16) static const char from[32] = {};
       auto* phase = reinterpret_cast<Phase*>(shared_memory());
       if (threadIdx.x > 0) return;
       open_phase(phase, 1);
       copy_bulk(shared_memory() + 240, from, 32, phase);
     }},
    {"shared memory that was written beyond its end", [] { shared_memory()[256] = 0; }},
    {"lanes that multiply by different tiles",
     [] {
       float c[8][4];
       const uint32_t a[4] = {};
       multiply_group<true>(c, a, shared_memory(), static_cast<int>(threadIdx.x) % 2, false);
     }},
    {"a wait for a phase that never ends",
     [] {
       auto* phase = reinterpret_cast<Phase*>(shared_memory());
       if (threadIdx.x > 0) return;
       open_phase(phase, 1);
       wait_phase(phase, 0);
     }},
    {"a block that ends before its copies have come",
     [] {
       alignas(16) static const char from[16] = {};
       auto* phase = reinterpret_cast<Phase*>(shared_memory());
       if (threadIdx.x > 0) return;
       open_phase(phase, 1);
       arrive_and_expect(phase, 16);
       copy_bulk(shared_memory() + 16, from, 16, phase);
     }},
};

// cudaRun(kernel, seed, threads, sharedBytes): "" or what the runner found.
Napi::Value run_kernel(const Napi::CallbackInfo& info) {
  const auto kernel = k_wrong_kernels.at(info[0].ToString());
  simt::Schedule schedule;
  schedule.seed = static_cast<uint64_t>(info[1].ToNumber().Int64Value());
  const Status status =
      simt::run({2, 1, 1}, {info[2].ToNumber().Uint32Value(), 1, 1},
                static_cast<size_t>(info[3].ToNumber().Int64Value()), kernel, schedule);
  return Napi::String::New(info.Env(), status.message());
}

// cudaEarly(when, seed): what blocks read at worst of a kernel that writes 1 over 0, "before" or
// "after" they wait for it; "never": they do not wait. A string: what the runner found.
Napi::Value read_early(const Napi::CallbackInfo& info) {
  const std::string when = info[0].ToString();
  int written = 0, read = 1;
  const std::function<void()> earlier = [&] { written++; };
  simt::Schedule schedule;
  schedule.seed = static_cast<uint64_t>(info[1].ToNumber().Int64Value());
  schedule.earlier = &earlier;
  const auto kernel = [&] {
    int seen = written;
    if (when != "never") begin_kernel();
    if (when == "after") seen = written;
    if (seen != 1) read = seen;
  };
  const Status status = simt::run({9, 1, 1}, {64, 1, 1}, 0, kernel, schedule);
  if (!status.ok()) return Napi::String::New(info.Env(), status.message());
  return Napi::Number::New(info.Env(), read);
}

// cudaSharedStart(): the bytes of shared memory as a block finds them.
Napi::Value shared_start(const Napi::CallbackInfo& info) {
  constexpr size_t k_bytes = 64;
  std::vector<uint8_t> bytes(k_bytes);
  const Status status = simt::run({1, 1, 1}, {32, 1, 1}, k_bytes,
                                  [&] {
                                    if (threadIdx.x == 0)
                                      std::memcpy(bytes.data(), shared_memory(), k_bytes);
                                  },
                                  {});
  return status.ok() ? to_array(info.Env(), std::span<const uint8_t>(bytes))
                     : throw_status(info.Env(), status);
}

// A graph that remembers what it would run.
struct FakeGraph {
  static inline std::vector<const FakeGraph*> started;
  static inline int made = 0, set_count = 0;
  static inline bool refuses_to_be = false, refuses_to_change = false, refuses_to_start = false;

  Launches launches;

  static std::unique_ptr<FakeGraph> make(Stream&, const Launches& launches) {
    ++made;
    if (refuses_to_be) return nullptr;
    return std::make_unique<FakeGraph>(FakeGraph{launches});
  }
  bool set(size_t i, const Launches& from) {
    ++set_count;
    return !refuses_to_change && launches.take_params(i, from);
  }
  bool start() const {
    if (!refuses_to_start) started.push_back(this);
    return !refuses_to_start;
  }
};

// cudaReplay(steps, refuses): what becomes of each step, a list of [kernel, parameter, blocks?], as
// { how, made, set, ran }. refuses: "", "make", "set" or "start".
Napi::Value replay(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto stream = Stream::open(0);
  if (!stream.ok()) return throw_status(env, stream.status());
  FakeGraph::refuses_to_be = info[1].ToString().Utf8Value() == "make";
  FakeGraph::refuses_to_change = info[1].ToString().Utf8Value() == "set";
  FakeGraph::refuses_to_start = info[1].ToString().Utf8Value() == "start";
  static const char k_kernels[32] = {};  // stand for functions
  Replay<FakeGraph> graphs;
  const auto steps = info[0].As<Napi::Array>();
  auto results = Napi::Array::New(env);
  for (uint32_t s = 0; s < steps.Length(); ++s) {
    const auto step = steps.Get(s).As<Napi::Array>();
    Launches launches;
    for (uint32_t i = 0; i < step.Length(); ++i) {
      const auto kernel = step.Get(i).As<Napi::Array>();
      const double param = kernel.Get(1u).ToNumber();
      Grid grid;
      if (kernel.Length() > 2) grid.x = kernel.Get(2u).ToNumber();
      launches.add({k_kernels + kernel.Get(0u).ToNumber().Uint32Value(), nullptr, grid, 32, 0},
                   &param, sizeof param);
    }
    FakeGraph::started.clear();
    FakeGraph::made = FakeGraph::set_count = 0;
    const bool by_graph = graphs.start(**stream, launches);
    const Launches& list = by_graph ? FakeGraph::started.at(0)->launches : launches;
    auto ran = Napi::Array::New(env);
    for (size_t i = 0; i < list.size(); ++i) {
      auto kernel = Napi::Array::New(env);
      kernel.Set(0u, static_cast<double>(static_cast<const char*>(list[i].kernel) - k_kernels));
      kernel.Set(1u, *static_cast<const double*>(list.params(i)));
      ran.Set(static_cast<uint32_t>(i), kernel);
    }
    auto result = Napi::Object::New(env);
    result.Set("how", by_graph ? "graph" : "each");
    result.Set("made", FakeGraph::made);
    result.Set("set", FakeGraph::set_count);
    result.Set("ran", ran);
    results.Set(s, result);
  }
  return results;
}

}  // namespace

void register_cuda(Napi::Env env, Napi::Object exports) {
  exports.Set("cudaSchedule", Napi::Function::New(env, set_schedule));
  exports.Set("cudaEarly", Napi::Function::New(env, read_early));
  exports.Set("cudaGroups", Napi::Function::New(env, groups));
  exports.Set("cudaKernels", Napi::Function::New(env, kernels));
  exports.Set("cudaSites", Napi::Function::New(env, sites));
  exports.Set("cudaSkip", Napi::Function::New(env, skip));
  exports.Set("cudaRun", Napi::Function::New(env, run_kernel));
  exports.Set("cudaReplay", Napi::Function::New(env, replay));
  exports.Set("cudaSharedStart", Napi::Function::New(env, shared_start));
}

}  // namespace millrace

#else

namespace millrace {
void register_cuda(Napi::Env, Napi::Object) {}
}  // namespace millrace

#endif
