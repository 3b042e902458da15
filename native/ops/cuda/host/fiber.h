#pragma once
// A fiber: a stack of its own and a place to go on from. The runner gives one to each CUDA thread.
// Threads: a fiber is resumed and suspended by one OS thread.

#include <cstddef>
#include <memory>

namespace millrace::simt {

// Whether this processor's switch is written; without it the host form of the kernels is absent.
#if (defined(__x86_64__) || defined(__aarch64__)) && !defined(_WIN32)
#define MILLRACE_HAS_FIBERS 1
#else
#define MILLRACE_HAS_FIBERS 0
#endif

class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(Fiber&&) noexcept = default;

  // Makes the next resume() call entry(argument) on a fresh stack; what ran before is forgotten.
  // entry never returns: it ends in suspend().
  void restart(void (*entry)(void*), void* argument);
  void resume();   // by the scheduler; returns at the next suspend()
  void suspend();  // by the fiber

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace millrace::simt
