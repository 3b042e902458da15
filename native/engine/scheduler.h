#pragma once
// Decides who computes what in each step: add and abort requests, schedule() a batch, commit() what
// was drawn from it. Knows nothing of devices and clocks: time is an argument. The step after one
// that only decodes can be told before anything was drawn, see schedule_ahead(): a device computes
// steps in order, so what an early end or a new owner makes of a page finds it written before.
// Invariants: every added sequence ends with exactly one of done, error or score; the first running
// sequence is never preempted, so all of them end; a waiting sequence waits only for running ones.
// Threads: engine thread only.

#include <memory>
#include <unordered_map>
#include <vector>

#include "engine/admission.h"
#include "engine/batch.h"
#include "engine/delivery.h"
#include "engine/queue.h"

namespace millrace {

struct SchedulerCounts {
  int64_t steps = 0, prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;
  int64_t preemptions = 0, finished = 0, aborted = 0, failed = 0;
};

// Of a request that is `age_ms` old.
Status deadline_error(int64_t deadline_ms, double age_ms);

class Scheduler {
 public:
  Scheduler(Limits limits, KvCache cache);

  // Takes a sequence with id, request, tokens and submitted_ms filled; may end it at once.
  void add(std::unique_ptr<Sequence> sequence, double now_ms, EventBatch& events);
  // Unknown ids are ignored. A sequence of the batch that runs ends at its commit.
  void abort(int64_t id, double now_ms, EventBatch& events);
  void read(int64_t id);  // its pieces are delivered from now on; unknown ids are ignored
  void fail_all(const Status& status, EventBatch& events);

  // The next step's work, empty only if there is none. Ends sequences whose deadline has passed.
  const Batch& schedule(double now_ms, EventBatch& events);
  // The step after the one scheduled last, in which each of its answers gets one token more. Null
  // where that is not all there is to do then, or depends on what is drawn.
  const Batch* schedule_ahead(double now_ms);
  // What draws[i] says about outputs[i] of the first batch scheduled and not committed.
  void commit(std::vector<Draw>& draws, double now_ms, EventBatch& events);
  bool has_scheduled() const { return !batch_.empty(); }  // what is not committed

  bool idle() const { return sequences_.empty(); }
  int running() const { return static_cast<int>(running_.size()); }
  int waiting() const { return waiting_.size(); }
  const SchedulerCounts& counts() const { return counts_; }
  const KvCache& cache() const { return cache_; }
  const Limits& limits() const { return limits_; }
  Status check() const;  // the cache's identity, recounted from every live sequence

 private:
  enum class Admission : uint8_t { admitted, held_back, full };
  // How much of the step is left.
  struct Budget {
    int rows;
    int outputs;
  };

  void expire(double now_ms, EventBatch& events);
  bool may_go_ahead(double now_ms) const;
  void schedule_decodes(Budget& budget);
  int rows_beside_decodes() const;
  void schedule_prefills(double now_ms, Budget& budget);
  Admission admit_waiting(Sequence& sequence, double now_ms, Budget& budget);
  void schedule_chunk(Sequence& sequence, Budget& budget);
  void start(Sequence& sequence, double now_ms);
  bool reserve(Sequence& sequence, int n_rows);
  Sequence* choose_victim(const Sequence& requester) const;
  void preempt(Sequence& victim);
  int match(Sequence& sequence);
  Likeness most_alike(const Sequence& sequence);
  bool waits_for_twin(const Sequence& sequence) const;
  int pages_for(int n_tokens) const;
  int missing_pages(const Sequence& sequence) const;
  void extend_chain(Sequence& sequence) const;
  void measure(double now_ms);
  void commit_output(const BatchOutput& output, Draw& draw, double now_ms, EventBatch& events);
  void settle(Sequence& sequence, double now_ms, EventBatch& events);
  void finish(Sequence& sequence, FinishReason reason, double now_ms, EventBatch& events);
  void fail(Sequence& sequence, const Status& status, EventBatch& events);
  void remove(Sequence& sequence);

  Limits limits_;
  KvCache cache_;
  SchedulerCounts counts_;
  std::unordered_map<int64_t, std::unique_ptr<Sequence>> sequences_;
  std::vector<Sequence*> running_;  // in order of rank
  WaitingQueue waiting_;
  std::vector<Sequence*> order_;  // running_ as the step began
  Batch batch_;                   // runs
  Batch ahead_;                   // follows it
  bool may_admit_more_ = false;   // than schedule() did
  uint64_t arrivals_ = 0;
  double started_ms_ = 0;  // the step that runs
  int n_decodes_ = 0;      // rows of that step
  double row_ms_ = 0;      // what a row of a step with prefill takes, smoothed; 0: not known
  int n_deadlines_ = 0;    // live sequences that have one
};

}  // namespace millrace
