#pragma once
// The engine's thread and what it shares with its callers: commands in, events out, counters.
// Invariant: an id is live from its accepted submit to the delivery of its last event, which comes
// exactly once, whatever fails; everything but `shared_` belongs to the engine thread.
// Threads: the public functions on any; the private ones on the engine thread, but for prepare,
// which the intake's worker runs, and post, which both do.

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "engine/intake.h"
#include "engine/request.h"
#include "engine/runner.h"
#include "engine/scheduler.h"

namespace millrace {

class Loop {
 public:
  Loop(std::shared_ptr<const Model> model, std::unique_ptr<Runner> runner, const Limits& limits,
       int queue_limit, std::shared_ptr<EventSink> sink);
  // The thread keeps its loop alive, so that the last owner may let go anywhere.
  static Status start(const std::shared_ptr<Loop>& loop);

  Status submit(int64_t id, Request request);
  void abort(int64_t id);
  void read(int64_t id);
  EngineStats stats() const;
  void close(int64_t drain_ms);
  void close_async(int64_t drain_ms, std::function<void()> on_closed);
  void shut();  // closes without draining and waits for the thread, unless this is it

 private:
  using Clock = std::chrono::steady_clock;
  enum class Command : uint8_t { submit, prepared, abort, read };
  struct Message {
    Command command = Command::submit;
    int64_t id = 0;
    std::unique_ptr<Sequence> sequence;
    Status status;  // prepared: whether it could be
  };
  // A request at the intake.
  struct Preparing {
    bool is_read = false;  // by somebody
    int64_t deadline_ms = 0;
    double submitted_ms = 0;
  };
  enum class State : uint8_t { open, closing, closed };
  // What both sides touch, under the mutex.
  struct Shared {
    std::vector<Message> messages;
    State state = State::open;
    Clock::time_point drain_until = Clock::time_point::max();
    std::vector<std::function<void()>> on_closed;
    Status failure;  // not ok: the engine failed
    int n_live = 0;
    EngineStats stats;
  };

  void run();
  void serve();
  bool receive(EventBatch& events);
  void take(Message& message, EventBatch& events);
  void take_submit(Message& message, EventBatch& events);
  void take_read(int64_t id);
  void take_abort(int64_t id, EventBatch& events);
  Clock::time_point next_deadline() const;
  void expire(EventBatch& events);
  void admit(std::unique_ptr<Sequence> sequence, const Status& prepared, EventBatch& events);
  Status grant_memory(const Sequence& sequence);
  Status prepare(Sequence& sequence);
  Status step(EventBatch& events);
  bool may_wait(const EventBatch& events) const;
  void deliver(EventBatch& events);
  void publish(int n_ended);
  void fail(const Status& failure);
  void end_all(const Status& status);
  void wait_until_closing();
  void end();
  void post(Message message);
  double now_ms() const;

  std::shared_ptr<const Model> model_;
  std::unique_ptr<Runner> runner_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<Intake> intake_;
  std::shared_ptr<EventSink> sink_;
  int queue_limit_;
  int max_sequences_;
  std::unordered_set<int64_t> live_;
  std::unordered_map<int64_t, Preparing> preparing_;  // live
  std::unordered_map<int64_t, size_t> granted_;       // live; bytes of what a score brings
  std::vector<std::string> last_stop_;                // of the intake's worker, as the next
  std::weak_ptr<const StopStrings> last_stops_;
  std::vector<Message> inbox_;
  std::vector<Draw> draws_;
  Clock::time_point delivered_at_;
  int64_t n_refused_ = 0;    // ended with an error before the scheduler saw them
  int64_t n_withdrawn_ = 0;  // aborted before that
  bool identity_holds_ = true;
  std::thread thread_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;    // for the engine thread: messages or closing
  std::condition_variable closed_;  // for those who wait in close
  Shared shared_;
};

}  // namespace millrace
