#include "engine/scheduler.h"

#include <algorithm>
#include <limits>

namespace millrace {

namespace {

// While others decode, prefill gets at most this share of the step, and no more than keeps the step
// as short as said, so that streams keep flowing; but always enough to get on.
constexpr int k_prefill_share = 4;
constexpr double k_shared_step_ms = 200;
constexpr int k_least_prefill_rows = 16;
// Waiting sequences looked at in one step, so that a long queue of twins costs little.
constexpr int k_look_ahead = 32;

int ceil_div(int a, int b) { return (a + b - 1) / b; }

bool is_late(const Sequence& sequence, double now_ms) {
  const int64_t deadline = sequence.request.deadline_ms;
  return deadline > 0 && now_ms - sequence.submitted_ms > static_cast<double>(deadline);
}

// Whether its last step runs, whatever that draws.
bool is_ending(const Sequence& sequence) {
  return sequence.is_aborted || sequence.n_output() + 1 >= sequence.max_output;
}

bool wants_prefill(const Sequence& sequence) {
  return sequence.stage == Sequence::Stage::running && !sequence.is_scheduled;
}

}  // namespace

Scheduler::Scheduler(Limits limits, KvCache cache)
    : limits_(std::move(limits)), cache_(std::move(cache)) {}

int Scheduler::pages_for(int n_tokens) const { return ceil_div(n_tokens, cache_.page_tokens()); }

// Pages a sequence still needs for all tokens it has.
int Scheduler::missing_pages(const Sequence& sequence) const {
  const int have = static_cast<int>(sequence.table.pages.size());
  return std::max(0, pages_for(sequence.n_tokens()) - have);
}

void Scheduler::add(std::unique_ptr<Sequence> added, double now_ms, EventBatch& events) {
  Sequence& sequence = *added;
  const Status status = admit(sequence, limits_, cache_);
  if (!status.ok()) {
    ++counts_.failed;
    deliver_error(sequence.id, status, events);
    return;
  }
  may_admit_more_ = true;
  counts_.prompt_tokens += sequence.n_prompt;
  sequence.arrival = ++arrivals_;
  if (sequence.is_score()) {
    sequence.score_logprobs.assign(sequence.tokens.size(), std::numeric_limits<float>::quiet_NaN());
    if (sequence.request.score_top > 0) sequence.score_top.resize(sequence.tokens.size());
  }
  sequences_.emplace(sequence.id, std::move(added));
  if (sequence.request.deadline_ms > 0) ++n_deadlines_;
  waiting_.push(sequence);
  const bool is_answered = sequence.is_score()
                               ? sequence.n_prompt == 1 && sequence.request.score_top == 0
                               : sequence.max_output == 0;
  if (is_answered) finish(sequence, FinishReason::length, now_ms, events);
}

void Scheduler::abort(int64_t id, double now_ms, EventBatch& events) {
  const auto found = sequences_.find(id);
  if (found == sequences_.end()) return;
  Sequence& sequence = *found->second;
  sequence.is_aborted = true;
  if (!sequence.is_scheduled) finish(sequence, FinishReason::abort, now_ms, events);
}

void Scheduler::read(int64_t id) {
  const auto found = sequences_.find(id);
  if (found != sequences_.end()) found->second->request.wants_pieces = true;
}

void Scheduler::fail_all(const Status& status, EventBatch& events) {
  while (!sequences_.empty()) fail(*sequences_.begin()->second, status, events);
  batch_.clear();
  ahead_.clear();
}

Status deadline_error(int64_t deadline_ms, double age_ms) {
  return error(ErrorCode::deadline,
               "Expected the request to end within deadlineMs %lld but %.0f ms have passed",
               static_cast<long long>(deadline_ms), age_ms);
}

void Scheduler::expire(double now_ms, EventBatch& events) {
  if (n_deadlines_ == 0) return;
  std::vector<Sequence*> late;
  for (const auto& [id, sequence] : sequences_)
    if (is_late(*sequence, now_ms)) late.push_back(sequence.get());
  for (Sequence* sequence : late) {
    fail(*sequence, deadline_error(sequence->request.deadline_ms, now_ms - sequence->submitted_ms),
         events);
  }
}

const Batch& Scheduler::schedule(double now_ms, EventBatch& events) {
  batch_.clear();
  expire(now_ms, events);
  started_ms_ = now_ms;
  order_ = running_;
  Budget budget{limits_.step_tokens, limits_.max_outputs};
  schedule_decodes(budget);
  n_decodes_ = batch_.n();
  if (!batch_.empty()) budget.rows = std::min(budget.rows, rows_beside_decodes());
  may_admit_more_ = false;
  schedule_prefills(now_ms, budget);
  if (!batch_.empty()) ++counts_.steps;
  return batch_;
}

// Whether schedule(), if it were asked now, would have everybody who runs decode and nobody else.
bool Scheduler::may_go_ahead(double now_ms) const {
  if (batch_.empty() || n_decodes_ < batch_.n() || !ahead_.empty()) return false;
  if (may_admit_more_ && waiting_.size() > 0) return false;
  const auto has_rows = [](const Sequence* sequence) { return sequence->is_scheduled; };
  if (!std::all_of(running_.begin(), running_.end(), has_rows)) return false;
  if (n_deadlines_ == 0) return true;
  return std::none_of(sequences_.begin(), sequences_.end(),
                      [now_ms](const auto& entry) { return is_late(*entry.second, now_ms); });
}

const Batch* Scheduler::schedule_ahead(double now_ms) {
  if (!may_go_ahead(now_ms)) return nullptr;
  for (size_t i = 0; i < batch_.sequences.size(); ++i) {
    Sequence* sequence = batch_.sequences[i];
    if (sequence == nullptr || is_ending(*sequence)) continue;
    const bool has_room = cache_.grow(sequence->table, pages_for(sequence->n_tokens() + 1));
    if (!has_room || needs_counts(sequence->request.sampling)) {
      ahead_.clear();
      return nullptr;
    }
    ahead_.add_ahead(*sequence, static_cast<int>(i));
  }
  if (ahead_.empty()) return nullptr;
  ++counts_.steps;
  return &ahead_;
}

// Rows of prefill in a step in which others decode.
int Scheduler::rows_beside_decodes() const {
  const int share = ceil_div(limits_.step_tokens, k_prefill_share);
  if (row_ms_ * (share + n_decodes_) <= k_shared_step_ms) return share;
  const int rows = static_cast<int>(k_shared_step_ms / row_ms_) - n_decodes_;
  return std::min(share, std::max(rows, k_least_prefill_rows));
}

// Learns the time of a row where there were enough of them to tell.
void Scheduler::measure(double now_ms) {
  if (batch_.n() - n_decodes_ < k_least_prefill_rows) return;
  const double row_ms = (now_ms - started_ms_) / batch_.n();
  row_ms_ = row_ms_ > 0 ? (row_ms_ + row_ms) / 2 : row_ms;
}

void Scheduler::schedule_decodes(Budget& budget) {
  for (Sequence* sequence : order_) {
    const bool is_running = sequence->stage == Sequence::Stage::running;
    if (!is_running || !sequence->is_decoding() || budget.rows == 0) continue;
    if (!reserve(*sequence, 1)) {
      preempt(*sequence);  // all others are before it
      continue;
    }
    batch_.add(*sequence, 1);
    sequence->is_scheduled = true;
    --budget.rows;
    --budget.outputs;
  }
}

// Running and waiting sequences in one order of rank, as long as rows are left.
void Scheduler::schedule_prefills(double now_ms, Budget& budget) {
  auto running = order_.begin();
  auto waiting = waiting_.begin();
  int looked_at = 0;
  while (budget.rows > 0) {
    while (running != order_.end() && !wants_prefill(**running)) ++running;
    const bool may_admit = waiting != waiting_.end() && looked_at < k_look_ahead;
    if (!may_admit && running == order_.end()) return;
    if (may_admit && (running == order_.end() || goes_before(**waiting, **running))) {
      ++looked_at;
      const Admission admission = admit_waiting(**waiting++, now_ms, budget);
      if (admission == Admission::full) looked_at = k_look_ahead;
    } else {
      match(**running);
      schedule_chunk(**running++, budget);
    }
  }
}

// Schedules as many rows as the budget and the pages allow, none if that is none. Positions that
// another page has already are copied from there, but for the last one: its logits are needed.
void Scheduler::schedule_chunk(Sequence& sequence, Budget& budget) {
  const Likeness known = most_alike(sequence);
  const int first = sequence.n_computed + known.n_tokens;
  const int left = sequence.n_tokens() - first;
  int rows = std::min(left, budget.rows);
  if (sequence.is_score()) {
    rows = std::min(rows, budget.outputs);
  } else if (rows == left && budget.outputs == 0) {
    --rows;
  }
  if (rows <= 0) return;
  const int pages = static_cast<int>(sequence.table.pages.size()) + cache_.available();
  const int room = pages * cache_.page_tokens() - first;
  rows = std::min(rows, std::max(room, 1));
  if (!reserve(sequence, known.n_tokens + rows)) return;  // waits for those that decode
  if (known.n_tokens > 0) {
    batch_.copies.push_back({known.page, sequence.table.pages[sequence.table.nodes.size()]});
    if (!sequence.is_preempted) sequence.cached_tokens += known.n_tokens;
    sequence.n_computed = first;
  }
  const size_t outputs = batch_.outputs.size();
  batch_.add(sequence, rows);
  sequence.is_scheduled = true;
  budget.rows -= rows;
  budget.outputs -= static_cast<int>(batch_.outputs.size() - outputs);
}

// Admits a sequence if the whole of it fits beside what the running ones still need. None is
// admitted past one that does not fit, so it will.
Scheduler::Admission Scheduler::admit_waiting(Sequence& sequence, double now_ms, Budget& budget) {
  if (running() >= limits_.max_sequences) return Admission::full;
  int promised = running();  // a page each, which they will want soon
  for (const Sequence* other : running_) promised += missing_pages(*other);
  const int matched = match(sequence);
  const bool waits = waits_for_twin(sequence);
  if (!waits && missing_pages(sequence) + promised <= cache_.available()) {
    start(sequence, now_ms);
    schedule_chunk(sequence, budget);
    return Admission::admitted;
  }
  cache_.release(sequence.table);
  sequence.n_computed = 0;
  sequence.cached_tokens -= matched;
  may_admit_more_ |= waits;  // a step of its twin may be enough
  return waits ? Admission::held_back : Admission::full;
}

void Scheduler::start(Sequence& sequence, double now_ms) {
  waiting_.remove(sequence);
  sequence.stage = Sequence::Stage::running;
  const auto place = std::upper_bound(running_.begin(), running_.end(), &sequence,
                                      [](auto* a, auto* b) { return goes_before(*a, *b); });
  running_.insert(place, &sequence);
  if (sequence.scheduled_ms < 0) sequence.scheduled_ms = now_ms;
}

// Takes known pages instead of computing them, up to the one that holds the last token: its logits
// are needed. Returns how many of the prompt's tokens were found, for the usage of a first run.
int Scheduler::match(Sequence& sequence) {
  const int page_tokens = cache_.page_tokens();
  if (sequence.is_score() || sequence.n_computed % page_tokens != 0) return 0;
  const int n_full = (sequence.n_tokens() - 1) / page_tokens;
  extend_chain(sequence);
  if (sequence.n_computed >= n_full * page_tokens) return 0;
  cache_.match(sequence.table, sequence.page_text(), n_full);
  const int before = sequence.n_computed;
  const int found = static_cast<int>(sequence.table.nodes.size()) * page_tokens;
  sequence.n_computed = std::max(before, found);
  if (sequence.is_preempted) return 0;
  sequence.cached_tokens += sequence.n_computed - before;
  return sequence.n_computed - before;
}

// The page that begins with most of what this sequence is about to compute, cached or being filled
// by a running sequence. It may be given to somebody else before the step runs: copies come first.
Likeness Scheduler::most_alike(const Sequence& sequence) {
  const PageTable& table = sequence.table;
  const size_t page = table.nodes.size();
  const int first = static_cast<int>(page) * cache_.page_tokens();
  const int n = std::min(cache_.page_tokens(), sequence.n_tokens() - 1 - first);
  const bool is_at_page = sequence.n_computed == first && table.pages.size() == page;
  if (sequence.is_score() || !is_at_page || n <= 0) return {};
  Likeness best = cache_.most_alike(table, sequence.page_text(), n);
  for (const Sequence* other : running_) {
    if (other->table.nodes.size() != page || other->table.pages.size() <= page) continue;
    const bool is_twin = page == 0 ? other->scope == sequence.scope
                                   : other->table.nodes.back() == table.nodes.back();
    if (!is_twin) continue;
    const auto begin = sequence.tokens.begin() + first;
    const int n_known = std::clamp(other->n_computed - first, 0, n);
    const auto end = std::mismatch(begin, begin + n_known, other->tokens.begin() + first).first;
    const int n_equal = static_cast<int>(end - begin);
    if (n_equal > best.n_tokens) best = {other->table.pages[page], n_equal};
  }
  return best;
}

// Whether a running sequence that goes before this one is about to compute its next full page.
bool Scheduler::waits_for_twin(const Sequence& sequence) const {
  const size_t page = sequence.table.nodes.size();
  const int end = static_cast<int>(page + 1) * cache_.page_tokens();
  if (sequence.is_score() || end >= sequence.n_tokens()) return false;
  return std::any_of(running_.begin(), running_.end(), [&](const Sequence* other) {
    return other->chain.size() > page && other->chain[page] == sequence.chain[page] &&
           other->n_computed < end && goes_before(*other, sequence);
  });
}

// Makes room for n_rows more positions, preempting sequences that come after this one.
bool Scheduler::reserve(Sequence& sequence, int n_rows) {
  const int pages = pages_for(sequence.n_computed + n_rows);
  while (!cache_.grow(sequence.table, pages)) {
    Sequence* victim = choose_victim(sequence);
    if (victim == nullptr) return false;
    preempt(*victim);
  }
  return true;
}

// Of the sequences after the requester, the one with the least to compute again; those that would
// free nothing, sharing all their pages, only if there is no other.
Sequence* Scheduler::choose_victim(const Sequence& requester) const {
  Sequence* victim = nullptr;
  int least = std::numeric_limits<int>::max();
  for (Sequence* candidate : running_) {
    if (candidate->is_scheduled || !goes_before(requester, *candidate)) continue;
    if (candidate->table.pages.empty()) continue;
    const int exclusive = cache_.exclusive(candidate->table);
    const int loss = exclusive > 0 ? exclusive : std::numeric_limits<int>::max() - 1;
    if (loss > least) continue;
    least = loss;
    victim = candidate;
  }
  return victim;
}

void Scheduler::preempt(Sequence& victim) {
  cache_.release(victim.table);
  victim.n_computed = 0;
  victim.is_preempted = true;
  victim.stage = Sequence::Stage::waiting;
  running_.erase(std::find(running_.begin(), running_.end(), &victim));
  waiting_.push(victim);
  ++counts_.preemptions;
}

void Scheduler::extend_chain(Sequence& sequence) const {
  const int page_tokens = cache_.page_tokens();
  const size_t n_known = static_cast<size_t>(sequence.n_tokens() / page_tokens);
  while (sequence.chain.size() < n_known) {
    const size_t page = sequence.chain.size();
    const PageHash before = page == 0 ? scope_hash(sequence.scope) : sequence.chain.back();
    const int32_t* tokens = sequence.tokens.data() + page * static_cast<size_t>(page_tokens);
    sequence.chain.push_back(chain_hash(before, tokens, page_tokens));
  }
}

void Scheduler::commit(std::vector<Draw>& draws, double now_ms, EventBatch& events) {
  measure(now_ms);
  for (size_t i = 0; i < batch_.sequences.size(); ++i) {
    if (batch_.sequences[i] == nullptr) continue;
    Sequence& sequence = *batch_.sequences[i];
    sequence.n_computed += batch_.spans[i].n_rows;
    sequence.is_scheduled = false;
    extend_chain(sequence);
    cache_.publish(sequence.table, sequence.page_text(),
                   sequence.n_computed / cache_.page_tokens());
  }
  for (size_t i = 0; i < batch_.outputs.size(); ++i) {
    if (batch_.outputs[i].sequence) commit_output(batch_.outputs[i], draws[i], now_ms, events);
  }
  for (Sequence* sequence : batch_.sequences)
    if (sequence) settle(*sequence, now_ms, events);
  std::swap(batch_, ahead_);
  ahead_.clear();
  n_decodes_ = batch_.n();
  for (Sequence* sequence : batch_.sequences)
    if (sequence) sequence->is_scheduled = true;
}

void Scheduler::commit_output(const BatchOutput& output, Draw& draw, double now_ms,
                              EventBatch& events) {
  Sequence& sequence = *output.sequence;
  if (sequence.is_aborted || !sequence.failure.ok()) return;
  if (!draw.status.ok()) {
    sequence.failure = std::move(draw.status);
  } else if (sequence.is_score()) {
    accept_score(sequence, output.position, std::move(draw));
  } else {
    sequence.ending = accept(sequence, std::move(draw), limits_, now_ms, events);
  }
}

// Ends a sequence if this step was its last.
void Scheduler::settle(Sequence& sequence, double now_ms, EventBatch& events) {
  const bool is_scored = sequence.is_score() && sequence.n_computed == sequence.n_tokens();
  if (sequence.is_aborted) {
    finish(sequence, FinishReason::abort, now_ms, events);
  } else if (!sequence.failure.ok()) {
    fail(sequence, sequence.failure, events);
  } else if (is_scored || sequence.ending != FinishReason::none) {
    finish(sequence, sequence.ending, now_ms, events);
  }
}

void Scheduler::finish(Sequence& sequence, FinishReason reason, double now_ms, EventBatch& events) {
  ++(reason == FinishReason::abort ? counts_.aborted : counts_.finished);
  deliver_end(sequence, reason, now_ms, events);
  cache_.publish_end(sequence.table, sequence.page_text(), sequence.n_computed);
  remove(sequence);
}

void Scheduler::fail(Sequence& sequence, const Status& status, EventBatch& events) {
  ++counts_.failed;
  deliver_error(sequence.id, status, events);
  remove(sequence);
}

void Scheduler::remove(Sequence& sequence) {
  may_admit_more_ = true;
  ahead_.forget(sequence);
  counts_.completion_tokens += sequence.n_output();
  counts_.cached_tokens += sequence.cached_tokens;
  cache_.release(sequence.table);
  if (sequence.stage == Sequence::Stage::waiting) {
    waiting_.remove(sequence);
  } else {
    running_.erase(std::find(running_.begin(), running_.end(), &sequence));
  }
  if (sequence.request.deadline_ms > 0) --n_deadlines_;
  sequences_.erase(sequence.id);
}

Status Scheduler::check() const {
  std::vector<const PageTable*> tables;
  tables.reserve(sequences_.size());
  for (const auto& [id, sequence] : sequences_) tables.push_back(&sequence->table);
  return cache_.check(tables);
}

}  // namespace millrace
