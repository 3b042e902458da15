#pragma once
// A fork-join pool: parallel_for splits a range among the workers and the calling thread.
// Each worker takes small ranges of its own share in order, then what others have left, so a busy
// neighbour costs its share and no more. Workers spin briefly after a step, then park. No lock is
// taken while a step runs.
// Threads: parallel_for by one thread at a time (the owner); bodies must not call back into it.

#include <memory>
#include <type_traits>

namespace millrace {

class ThreadPool {
 public:
  explicit ThreadPool(int n_threads);  // including the caller; at least 1
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  // Calls body(begin, end, worker) for disjoint ranges of at most `grain` that cover [0, n).
  template <class F>
  void parallel_for(int n, int grain, F&& body) {
    run(
        n, grain,
        [](void* f, int begin, int end, int worker) {
          (*static_cast<std::remove_reference_t<F>*>(f))(begin, end, worker);
        },
        const_cast<void*>(static_cast<const void*>(&body)));
  }

 private:
  using Body = void (*)(void* context, int begin, int end, int worker);
  void run(int n, int grain, Body body, void* context);
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace millrace
