#pragma once
// Prepares requests beside the steps, in order of arrival: one worker that runs a pure function
// (tokenizing), so that a long prompt never stalls a step.
// Threads: push and stop on the engine thread; prepare and deliver run on the worker.

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "base/result.h"
#include "engine/sequence.h"

namespace millrace {

class Intake {
 public:
  using Prepare = std::function<Status(Sequence&)>;  // fills sequence.tokens
  using Deliver = std::function<void(std::unique_ptr<Sequence>, Status)>;

  Intake(Prepare prepare, Deliver deliver);
  ~Intake();  // waits for the sequence at hand, forgets the rest

  void push(std::unique_ptr<Sequence> sequence);
  void forget(int64_t id);  // unless it is at hand

 private:
  void run();

  Prepare prepare_;
  Deliver deliver_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::unique_ptr<Sequence>> line_;
  bool is_ending_ = false;
  std::thread thread_;
};

}  // namespace millrace
