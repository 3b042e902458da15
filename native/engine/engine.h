#pragma once
// Continuous batching over one model on one device: what callers hold. The thread and its two
// queues are the Loop's. Invariant: every submitted request ends with exactly one of done, error or
// score. Threads: open on a job thread; submit, abort, stats and close from any thread; everything
// else on the engine thread.

#include <functional>
#include <memory>

#include "base/result.h"
#include "engine/request.h"
#include "model/model.h"

namespace millrace {

class Loop;

class Engine {
 public:
  static Result<std::shared_ptr<Engine>> open(std::shared_ptr<const Model> model,
                                              const EngineOptions& options,
                                              std::shared_ptr<EventSink> sink);
  explicit Engine(std::shared_ptr<Loop> loop);  // for open
  ~Engine();                                    // closes without draining

  // Queues a request under an id the caller chose (unique in this engine, > 0). Refusals that
  // depend on the state (closed, failed, overloaded) come back here; the rest as an error event.
  Status submit(int64_t id, Request request);
  // Ends the request with a done event of reason abort within one step; unknown ids are ignored.
  void abort(int64_t id);
  // The request's pieces are delivered from now on, the first with all since its start.
  void read(int64_t id);
  EngineStats stats() const;

  // Stops admitting. Running requests finish, for at most drain_ms (negative: no limit), then are
  // ended with error `closed`; then the thread ends and everything is released. Blocks; idempotent.
  void close(int64_t drain_ms);
  // The same without waiting; on_closed is called once, on the engine thread or at once.
  void close_async(int64_t drain_ms, std::function<void()> on_closed);

 private:
  std::shared_ptr<Loop> loop_;
};

}  // namespace millrace
