#pragma once
// One device's memory and its one queue of kernels and copies. stream.cu implements it over the
// CUDA runtime, host/stream.cpp over the runner of kernels.
// Threads: one at a time; release() by any thread. All but open() and count() under a Current.

#include <memory>
#include <string>

#include "base/result.h"
#include "ops/cuda/launches.h"
#include "ops/cuda/step.h"

namespace millrace::cuda {

struct DeviceFacts {
  std::string name;      // "NVIDIA H200"
  std::string platform;  // "cuda 13.0, compute capability 9.0"
  size_t memory_bytes = 0;
};

class Stream {
 public:
  // Makes a stream's device the calling thread's own, and gives back the one before.
  class Current {
   public:
    explicit Current(const Stream& stream);
    ~Current();
    Current(const Current&) = delete;
    Current& operator=(const Current&) = delete;

   private:
    int before_ = 0;
  };

  static Result<int> count();  // devices of this machine; an error says why there are none
  static Result<std::unique_ptr<Stream>> open(int device_index);
  ~Stream();

  DeviceFacts facts() const;
  size_t shared_bytes() const;  // that one block may have
  int multiprocessors() const;
  // Whether kernels may multiply by warpgroups (sm_90a). Only where they were seen to round as
  // warps do: a token would depend on its batch otherwise.
  bool has_groups() const;
  enum class Rounding { alike, unlike, unknown };
  void set_groups(Rounding seen);
  size_t free_bytes() const;         // as seen when asked, less what kernels need of it
  uint64_t graph_steps() const;      // that were started as one graph
  uint64_t changed_kernels() const;  // whose parameters had to be set for that
  void* alloc(size_t size_bytes);    // zeroed, 256-byte aligned; null when refused
  void release(void* memory);
  // In, out or within the device, after what was recorded; returns when it is done.
  Status copy(void* to, const void* from, size_t size_bytes);

  // A kernel of this step. It starts with all that were recorded when somebody waits for the step,
  // copies, or makes workspace or counters larger, and not at all where the step has an error by
  // then. See replay.h.
  void record(const Launch& launch, const void* params, size_t size_bytes);
  Launches& recorded();  // what has not started

  // Small host arrays that kernels read (page tables, positions): the device's copy, which is one
  // when recorded kernels start, until the step's end. Null after an error. Those that several
  // operators are given go by way of step().
  const void* stage(const void* from, size_t size_bytes);
  Step& step();
  // Device memory of one operator; the next operator may overwrite it. Null when refused, with the
  // error recorded; try_workspace records none.
  void* workspace(size_t size_bytes) {
    void* memory = try_workspace(size_bytes);
    if (!memory)
      fail(error(ErrorCode::out_of_memory, "cannot allocate %zu bytes for a kernel's workspace",
                 size_bytes));
    return memory;
  }
  void* try_workspace(size_t size_bytes);
  // Counters that are zero whenever no kernel runs: who counts sets them back.
  unsigned* counters(size_t count);

  void fail(Status status);  // keeps the first one
  Status take_error();       // the first one since the last call; does not wait
  Status finish();           // waits; as take_error()

  // As those of Device. What a step staged stays until it is collected, or all is finished; memory
  // that grew for it is given back when no other step is on its way.
  void end_step(const void* from, size_t size_bytes);
  Status collect(void* to);

  struct State;
  State& state() { return *state_; }

 private:
  Stream();
  void start();  // what was recorded
  void wait();   // for all of it
  std::unique_ptr<State> state_;
};

}  // namespace millrace::cuda
