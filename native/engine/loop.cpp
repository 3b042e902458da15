#include "engine/loop.h"

#include <algorithm>
#include <exception>
#include <new>
#include <system_error>

#include "base/cpu.h"

namespace millrace {

namespace {

// Runs a part of the thread's root: whatever is thrown below becomes a status.
template <class F>
Status guarded(F&& part) {
  try {
    return part();
  } catch (const std::bad_alloc&) {
    return Status(ErrorCode::out_of_memory, "the engine ran out of memory");
  } catch (const std::exception& exception) {
    return error(ErrorCode::internal, "internal error in the engine: %s", exception.what());
  } catch (...) {
    return Status(ErrorCode::internal, "internal error in the engine");
  }
}

Status closed_error() {
  return Status(ErrorCode::closed, "the engine is closed; open another with Engine.open()");
}

Status failed_error(const Status& failure) {
  return error(ErrorCode::failed, "the engine failed earlier (%s: %s); open another one",
               name_of(failure.code()), failure.message().c_str());
}

bool is_last(const Event& event) { return event.kind != Event::Kind::piece; }

// A wake-up costs the JS thread about 50 us, however little it brings. So where steps are short,
// pieces wait for those of later steps: of one answer alone for 1/2 ms, of 32 for 16 ms.
constexpr std::chrono::microseconds k_patience_per_answer(500);
constexpr std::chrono::milliseconds k_most_patience(16);

}  // namespace

Loop::Loop(std::shared_ptr<const Model> model, std::unique_ptr<Runner> runner, const Limits& limits,
           int queue_limit, std::shared_ptr<EventSink> sink)
    : model_(std::move(model)),
      runner_(std::move(runner)),
      scheduler_(std::make_unique<Scheduler>(
          limits, KvCache(runner_->cache_size().pages, runner_->cache_size().shape.page_tokens))),
      sink_(std::move(sink)),
      queue_limit_(queue_limit),
      max_sequences_(limits.max_sequences) {
  const DeviceInfo device = runner_->device_info();
  EngineStats& stats = shared_.stats;
  stats.device = device.name;
  stats.hardware = device.hardware;
  stats.ops = device.ops;
  stats.why_no_gpu = runner_->why_no_gpu();
  stats.threads = device.threads;
  stats.page_tokens = runner_->cache_size().shape.page_tokens;
  stats.weights_bytes = static_cast<int64_t>(runner_->weights_bytes());
  stats.cache_bytes = static_cast<int64_t>(runner_->cache_size().size_bytes());
  stats.workspace_bytes = static_cast<int64_t>(runner_->workspace_bytes());
  publish(0);
}

Status Loop::start(const std::shared_ptr<Loop>& loop) {
  Loop* self = loop.get();
  try {
    loop->intake_ = std::make_unique<Intake>(
        [self](Sequence& sequence) { return self->prepare(sequence); },
        [self](std::unique_ptr<Sequence> sequence, Status status) {
          const int64_t id = sequence->id;
          self->post({Command::prepared, id, std::move(sequence), std::move(status)});
        });
    loop->thread_ = std::thread([loop] { loop->run(); });
  } catch (const std::system_error& exception) {
    return error(ErrorCode::out_of_memory, "no thread for the engine: %s", exception.what());
  }
  return {};
}

double Loop::now_ms() const {
  return std::chrono::duration<double, std::milli>(Clock::now().time_since_epoch()).count();
}

// --- any thread ----------------------------------------------------------------------------------

Status Loop::submit(int64_t id, Request request) {
  auto sequence = std::make_unique<Sequence>();
  sequence->id = id;
  sequence->request = std::move(request);
  sequence->submitted_ms = now_ms();
  const std::lock_guard lock(mutex_);
  if (!shared_.failure.ok()) return failed_error(shared_.failure);
  if (shared_.state != State::open) return closed_error();
  if (shared_.n_live >= max_sequences_ + queue_limit_) {
    ++shared_.stats.rejected;
    return error(
        ErrorCode::overloaded,
        "Expected at most %d requests at once (maxSequences %d + queueLimit %d) but all of "
        "them are taken",
        max_sequences_ + queue_limit_, max_sequences_, queue_limit_);
  }
  shared_.messages.push_back({Command::submit, id, std::move(sequence), {}});
  ++shared_.n_live;
  wake_.notify_one();
  return {};
}

void Loop::abort(int64_t id) { post({Command::abort, id, nullptr, {}}); }

void Loop::read(int64_t id) { post({Command::read, id, nullptr, {}}); }

void Loop::post(Message message) {
  const std::lock_guard lock(mutex_);
  if (shared_.state == State::closed) return;
  shared_.messages.push_back(std::move(message));
  wake_.notify_one();
}

EngineStats Loop::stats() const {
  const std::lock_guard lock(mutex_);
  EngineStats stats = shared_.stats;
  constexpr const char* k_states[] = {"open", "closing", "closed"};
  stats.state = k_states[static_cast<int>(shared_.state)];
  if (!shared_.failure.ok() && shared_.state != State::closed) stats.state = "failed";
  return stats;
}

void Loop::close_async(int64_t drain_ms, std::function<void()> on_closed) {
  {
    const std::lock_guard lock(mutex_);
    if (shared_.state != State::closed) {
      shared_.state = State::closing;
      if (drain_ms >= 0) {
        constexpr int64_t k_most_ms = 1'000'000'000;
        const auto until = Clock::now() + std::chrono::milliseconds(std::min(drain_ms, k_most_ms));
        shared_.drain_until = std::min(shared_.drain_until, until);
      }
      if (on_closed) shared_.on_closed.push_back(std::move(on_closed));
      wake_.notify_one();
      return;
    }
  }
  if (on_closed) on_closed();
}

void Loop::close(int64_t drain_ms) {
  close_async(drain_ms, nullptr);
  if (std::this_thread::get_id() == thread_.get_id()) return;
  std::unique_lock lock(mutex_);
  closed_.wait(lock, [this] { return shared_.state == State::closed; });
}

void Loop::shut() {
  close_async(0, nullptr);
  if (!thread_.joinable()) return;
  if (std::this_thread::get_id() == thread_.get_id()) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

// --- engine thread -------------------------------------------------------------------------------

void Loop::run() {
  const Status served = guarded([this] {
    serve();
    return Status();
  });
  if (!served.ok()) {
    (void)guarded([&] {
      fail(served);
      return Status();
    });
    wait_until_closing();
  }
  end();
}

void Loop::serve() {
  EventBatch events;
  while (receive(events)) {
    const Status status = step(events);
    if (status.ok() && may_wait(events)) {
      publish(0);
      continue;
    }
    deliver(events);
    if (status.ok()) continue;
    fail(status);
    wait_until_closing();
    return;
  }
  deliver(events);
  end_all(closed_error());
}

// First pieces and ends never wait, nothing waits for a prefill (see step).
bool Loop::may_wait(const EventBatch& events) const {
  if (scheduler_->idle()) return false;
  for (const Event& event : events)
    if (is_last(event) || event.is_first) return false;
  const auto patience = std::min<Clock::duration>(
      k_patience_per_answer * static_cast<int64_t>(scheduler_->running()), k_most_patience);
  return Clock::now() - delivered_at_ < patience;
}

// Takes what arrived, sleeping while there is nothing to do. False: it is time to end.
bool Loop::receive(EventBatch& events) {
  {
    std::unique_lock lock(mutex_);
    for (;;) {
      const bool is_closing = shared_.state == State::closing;
      if (is_closing && Clock::now() >= shared_.drain_until) return false;
      const Clock::time_point deadline = next_deadline();
      if (!shared_.messages.empty() || !scheduler_->idle() || Clock::now() >= deadline) break;
      if (is_closing && live_.empty()) return false;
      const auto until = is_closing ? std::min(deadline, shared_.drain_until) : deadline;
      if (until == Clock::time_point::max())
        wake_.wait(lock);
      else
        wake_.wait_until(lock, until);
    }
    inbox_.swap(shared_.messages);
  }
  for (Message& message : inbox_) take(message, events);
  inbox_.clear();
  expire(events);
  return true;
}

// Of what is at the intake, whose worker may be at a long text; the scheduler's are its own.
Loop::Clock::time_point Loop::next_deadline() const {
  constexpr double k_most_ms = 1e12;  // a point of time still
  auto next = Clock::time_point::max();
  for (const auto& [id, one] : preparing_) {
    if (one.deadline_ms == 0) continue;
    const double ms = std::min(one.submitted_ms + static_cast<double>(one.deadline_ms), k_most_ms);
    const std::chrono::duration<double, std::milli> since_start(ms);
    next = std::min(next, Clock::time_point(std::chrono::ceil<Clock::duration>(since_start)));
  }
  return next;
}

void Loop::expire(EventBatch& events) {
  const double now = now_ms();
  std::erase_if(preparing_, [&](const auto& entry) {
    const auto& [id, one] = entry;
    const double age = now - one.submitted_ms;
    if (one.deadline_ms == 0 || age < static_cast<double>(one.deadline_ms)) return false;
    intake_->forget(id);
    ++n_refused_;
    deliver_error(id, deadline_error(one.deadline_ms, age), events);
    return true;
  });
}

void Loop::take(Message& message, EventBatch& events) {
  if (message.command == Command::abort) return take_abort(message.id, events);
  if (message.command == Command::submit) return take_submit(message, events);
  if (message.command == Command::read) return take_read(message.id);
  const auto found = preparing_.find(message.id);
  if (found == preparing_.end()) return;  // aborted meanwhile
  message.sequence->request.wants_pieces |= found->second.is_read;
  preparing_.erase(found);
  admit(std::move(message.sequence), message.status, events);
}

void Loop::take_submit(Message& message, EventBatch& events) {
  live_.insert(message.id);
  const Request& request = message.sequence->request;
  if (request.is_text || !request.stop.empty()) {
    preparing_[message.id] = {false, request.deadline_ms, message.sequence->submitted_ms};
    intake_->push(std::move(message.sequence));
    return;
  }
  const Status status = prepare(*message.sequence);
  admit(std::move(message.sequence), status, events);
}

void Loop::take_read(int64_t id) {
  scheduler_->read(id);
  const auto found = preparing_.find(id);
  if (found != preparing_.end()) found->second.is_read = true;
}

void Loop::take_abort(int64_t id, EventBatch& events) {
  scheduler_->abort(id, now_ms(), events);
  if (preparing_.erase(id) == 0) return;
  intake_->forget(id);
  ++n_withdrawn_;
  Event event;
  event.kind = Event::Kind::done;
  event.request = id;
  event.reason = FinishReason::abort;
  events.push_back(std::move(event));
}

void Loop::admit(std::unique_ptr<Sequence> sequence, const Status& prepared, EventBatch& events) {
  const Status status = prepared.ok() ? grant_memory(*sequence) : prepared;
  if (status.ok()) {
    scheduler_->add(std::move(sequence), now_ms(), events);
  } else {
    ++n_refused_;
    deliver_error(sequence->id, status, events);
  }
}

// A score may ask for the whole vocabulary at every position. An alternative is 8 bytes here, 12 on
// its way, in vectors that grow, and up to 20 in JavaScript.
Status Loop::grant_memory(const Sequence& sequence) {
  constexpr size_t k_worth_asking = size_t{64} << 20, k_alternative_bytes = 40;
  if (!sequence.is_score() || sequence.request.score_top <= 0) return {};
  const size_t n_top = static_cast<size_t>(sequence.request.score_top);
  const size_t needed = sequence.tokens.size() * n_top * k_alternative_bytes;
  if (needed < k_worth_asking) return {};
  size_t taken = runner_->bytes_to_pack();
  for (const auto& [id, bytes] : granted_) taken += bytes;
  const size_t host_bytes = free_memory_bytes();  // the alternatives lie in the host's
  const size_t free_bytes = host_bytes - std::min(host_bytes, taken);
  if (needed <= free_bytes / 2) {
    granted_[sequence.id] = needed;
    return {};
  }
  return error(
      ErrorCode::out_of_memory,
      "Expected the alternatives of a score to fit half of the free memory but %zu tokens * "
      "top %zu * %zu bytes = %zu and %zu are free",
      sequence.tokens.size(), n_top, k_alternative_bytes, needed, free_bytes);
}

// The part of an admission that depends on the request's size alone: tokens and stop strings.
Status Loop::prepare(Sequence& sequence) {
  Request& request = sequence.request;
  const Tokenizer& tokenizer = model_->tokenizer();
  if (request.is_text) {
    auto tokens = tokenizer.encode(request.text, {request.add_special, request.parse_special});
    TRY(tokens);
    request.tokens = std::move(*tokens);
    request.text = std::string();
  }
  sequence.tokens = std::move(request.tokens);
  if (sequence.is_score()) return {};
  std::shared_ptr<const StopStrings> stops;
  if (!request.stop.empty()) {
    // The n answers of one request share theirs, which takes 1 KiB for each byte.
    if (request.stop == last_stop_) stops = last_stops_.lock();
    if (!stops) {
      auto made = StopStrings::create(request.stop);
      TRY(made);
      stops = *made;
      last_stop_ = request.stop;
      last_stops_ = stops;
    }
  }
  sequence.stream = std::make_unique<TextStream>(tokenizer, stops, TextStreamOptions());
  return {};
}

// Waits for the step that runs, or one that is started now. Where it can be told which follows,
// that one is started before, so that the device goes on while the host is at what was drawn.
Status Loop::step(EventBatch& events) {
  if (!scheduler_->has_scheduled()) {
    const Batch& batch = scheduler_->schedule(now_ms(), events);
    if (batch.empty()) {
      CHECK(scheduler_->idle());
      return {};
    }
    const bool is_prefill = batch.tokens.size() > batch.spans.size();
    if (is_prefill && !events.empty()) deliver(events);
    TRY(runner_->start(batch));
  }
  if (runner_->runs_ahead()) {
    const Batch* next = scheduler_->schedule_ahead(now_ms());
    if (next) TRY(runner_->start(*next));
  }
  TRY(runner_->collect(draws_));
  scheduler_->commit(draws_, now_ms(), events);
  return {};
}

// Counters first, so that who has seen the last event sees the pages back.
void Loop::deliver(EventBatch& events) {
  std::vector<int64_t> ended;
  for (const Event& event : events)
    if (is_last(event) && live_.count(event.request) > 0) ended.push_back(event.request);
  if (scheduler_ && scheduler_->idle()) identity_holds_ &= scheduler_->check().ok();
  publish(static_cast<int>(ended.size()));
  if (events.empty()) return;
  join_pieces(events);
  sink_->deliver(std::move(events));
  events.clear();
  // Not before: whoever could not be told is told of the failure.
  for (const int64_t id : ended) {
    live_.erase(id);
    granted_.erase(id);
  }
  delivered_at_ = Clock::now();
}

void Loop::publish(int n_ended) {
  const std::lock_guard lock(mutex_);
  EngineStats& stats = shared_.stats;
  shared_.n_live -= n_ended;
  if (!scheduler_) return;
  const KvCache& cache = scheduler_->cache();
  const SchedulerCounts& counts = scheduler_->counts();
  stats.running = scheduler_->running();
  stats.waiting = scheduler_->waiting() + static_cast<int>(preparing_.size());
  stats.pages_total = cache.total();
  stats.pages_free = cache.free_count();
  stats.pages_cached = cache.cached_count();
  stats.pages_held = cache.held_count();
  stats.steps = counts.steps;
  stats.prompt_tokens = counts.prompt_tokens;
  stats.cached_tokens = counts.cached_tokens;
  stats.completion_tokens = counts.completion_tokens;
  stats.preemptions = counts.preemptions;
  stats.evictions = cache.evictions();
  stats.finished = counts.finished;
  stats.aborted = counts.aborted + n_withdrawn_;
  stats.failed = counts.failed + n_refused_;
  stats.identity_holds = identity_holds_ && cache.identity_holds();
}

// The engine has failed: says so to every live request and to all later calls.
void Loop::fail(const Status& failure) {
  {
    const std::lock_guard lock(mutex_);
    shared_.failure = failure;
  }
  end_all(failure);
}

// The scheduler may be in any state when this is called, so only the ids are trusted: those taken,
// those in the inbox and those not received yet.
void Loop::end_all(const Status& status) {
  for (int pass = 0; pass < 2; ++pass) {
    for (const Message& message : inbox_) {
      if (message.command == Command::submit) live_.insert(message.id);
    }
    inbox_.clear();
    const std::lock_guard lock(mutex_);
    inbox_.swap(shared_.messages);
  }
  scheduler_.reset();
  EventBatch events;
  for (const int64_t id : live_) deliver_error(id, status, events);
  {
    const std::lock_guard lock(mutex_);
    EngineStats& stats = shared_.stats;
    stats.failed += static_cast<int64_t>(live_.size());
    stats.running = stats.waiting = 0;
    stats.pages_free = stats.pages_total;
    stats.pages_cached = stats.pages_held = 0;
  }
  deliver(events);
}

void Loop::wait_until_closing() {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this] {
    shared_.messages.clear();
    return shared_.state != State::open;
  });
}

void Loop::end() {
  intake_.reset();
  scheduler_.reset();
  runner_.reset();
  model_.reset();
  std::vector<std::function<void()>> callbacks;
  {
    const std::lock_guard lock(mutex_);
    shared_.state = State::closed;
    shared_.messages.clear();
    callbacks.swap(shared_.on_closed);
  }
  closed_.notify_all();
  for (const auto& callback : callbacks) callback();
}

}  // namespace millrace
