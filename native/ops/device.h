#pragma once
// A compute device: memory, a queue of work, and the operator table that runs on it.
// Invariant: every large buffer of the core comes from Device::alloc, which may refuse.
// Threads: open on any thread; alloc and queue work by one thread at a time (load, then the engine
// thread). Buffers may be freed on any thread.

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "ops/ops.h"

namespace millrace {

class ThreadPool;

// Device memory, freed with its last owner.
class Buffer {
 public:
  Buffer() = default;
  Buffer(std::shared_ptr<void> data, size_t size_bytes)
      : data_(std::move(data)), size_bytes_(size_bytes) {}
  void* data() const { return data_.get(); }
  size_t size_bytes() const { return size_bytes_; }

 private:
  std::shared_ptr<void> data_;
  size_t size_bytes_ = 0;
};

// Where operators record their first error and find their workers.
class Queue {
 public:
  explicit Queue(ThreadPool* pool) : pool_(pool) {}
  ThreadPool& pool() { return *pool_; }
  void fail(Status status);  // keeps the first one
  Status take_error();       // and clears it

  // Scratch that lives until the next call of scratch on this queue; grows, never shrinks.
  // Null when memory is refused, with the error recorded.
  void* scratch(size_t size_bytes);

 private:
  ThreadPool* pool_;
  Status error_;
  std::shared_ptr<void> scratch_;
  size_t scratch_bytes_ = 0;
};

struct DeviceInfo {
  std::string name;      // "cpu", "cuda:0"
  std::string hardware;  // "AMD EPYC 9B14", "NVIDIA H200"
  std::string ops;       // the table in use
  int threads = 1;
  size_t memory_bytes = 0;       // physical memory that could be used
  size_t free_bytes = 0;         // as seen when asked
  uint64_t graph_steps = 0;      // steps that were started as one graph
  uint64_t changed_kernels = 0;  // of theirs, that had to be given new parameters
};

// One runs, one is ready to follow it.
constexpr int k_steps_on_way = 2;

inline Status no_step_on_way() {
  return Status(ErrorCode::internal, "Expected a step on its way but there is none");
}
inline Status step_not_started() {
  return Status(ErrorCode::internal, "a step was not started after an error before it");
}
inline Status too_many_steps() {
  return Status(ErrorCode::internal, "Expected a step to be collected before a third is asked for");
}

class Device {
 public:
  virtual ~Device() = default;
  virtual DeviceInfo info() const = 0;
  virtual const Ops& ops() const = 0;
  virtual Queue& queue() = 0;
  // How many rows a step of n had better have; where each number has to be prepared for, one of
  // few. What the rows beyond n hold is of no interest.
  virtual int rows_for(int n) const { return n; }
  // Whether the host reads and writes this device's memory in place; where not, it copies.
  virtual bool shares_host_memory() const = 0;
  // In, out or within, in the queue's order; host memory may be used again when it returns.
  virtual Status copy(void* to, const void* from, size_t size_bytes) = 0;
  // Zeroed, 64-byte aligned. `what` names the buffer in the error. Where a GPU refuses,
  // this calls finish(), for a lost one refuses too.
  virtual Result<Buffer> alloc(size_t size_bytes, const char* what) = 0;
  // Waits for the queue; the first error since the last call. Steps on their way are forgotten.
  virtual Status finish() = 0;

  // Whether to ask for a step while another runs brings anything.
  virtual bool runs_ahead() const { return false; }
  // Ends a step and does not wait for it: what was asked for starts, and size_bytes of `from`, as
  // they are then, come over for collect(). Fewer than k_steps_on_way may be on their way when the
  // next thing is asked for.
  virtual void end_step(const void* from, size_t size_bytes) = 0;
  // Waits for the first step on its way and copies what came over; the first error since the last
  // call, be it of a later step.
  virtual Status collect(void* to) = 0;
};

struct CpuOptions {
  int threads = 0;         // 0: the physical cores this process may use
  const char* table = "";  // "reference", "avx2", "avx512", ...; "" takes MILLRACE_OPS or the best
};
Result<std::shared_ptr<Device>> open_cpu(const CpuOptions& options);

// Names of the tables this processor can run, best first.
std::vector<std::string> cpu_tables();

// For tests: the (n+1)-th Device::alloc or Queue::scratch growth from now fails; negative: never.
void fail_alloc_after(int n);

}  // namespace millrace
