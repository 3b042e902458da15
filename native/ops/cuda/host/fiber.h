#pragma once
// A fiber: a stack of its own and a place to go on from. The runner gives one to each CUDA thread.
// Written for x86-64 and 64-bit ARM under System V's rules; CMake leaves the host form out
// elsewhere. Threads: a fiber is resumed and suspended by one OS thread.

#include <cstddef>
#include <memory>

namespace millrace::simt {

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
