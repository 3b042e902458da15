#include "binding/events.h"

#include <algorithm>

namespace millrace {

namespace {

constexpr size_t k_least_capacity = 1024;      // Int32s, numbers
constexpr size_t k_most_capacity = 64 * 1024;  // a score request's arrays are not kept

// A message may quote bytes of a hostile file: anything but ASCII would spoil the count of units.
std::string ascii_of(const std::string& text) {
  std::string ascii = text;
  for (char& c : ascii)
    if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  return ascii;
}

size_t grown(size_t needed) {
  size_t capacity = k_least_capacity;
  while (capacity < needed) capacity *= 2;
  return capacity;
}

}  // namespace

void PackedEvents::add_list(const std::vector<TokenLogprob>& list) {
  records.push_back(static_cast<int32_t>(list.size()));
  for (const TokenLogprob& entry : list) {
    records.push_back(entry.token);
    numbers.push_back(entry.logprob);
  }
}

void PackedEvents::add_piece(const Event& event) {
  for (size_t i = 0; i < event.logprobs.size(); ++i) {
    numbers.push_back(event.logprobs[i].logprob);
    add_list(i < event.top.size() ? event.top[i] : std::vector<TokenLogprob>());
  }
}

void PackedEvents::add_end(const Event& event) {
  records.push_back(static_cast<int32_t>(event.reason));
  records.push_back(event.usage.prompt_tokens);
  records.push_back(event.usage.cached_tokens);
  records.push_back(event.usage.completion_tokens);
  numbers.push_back(event.timings.queue_ms);
  numbers.push_back(event.timings.first_token_ms);
  numbers.push_back(event.timings.decode_ms);
}

void PackedEvents::add_score(const Event& event) {
  add_end(event);
  for (size_t i = 0; i < event.tokens.size(); ++i)
    numbers.push_back(i < event.score_logprobs.size() ? event.score_logprobs[i] : 0.0);
  for (size_t i = 0; i < event.top.size(); ++i) add_list(event.top[i]);
}

void PackedEvents::add(const Event& event) {
  const std::string message =
      event.kind == Event::Kind::error ? ascii_of(event.error.message()) : std::string();
  const bool is_error = event.kind == Event::Kind::error;
  // As many lists follow as nTop says: one per token, or none.
  const bool has_top = event.kind == Event::Kind::piece
                           ? !event.logprobs.empty() && event.logprobs.size() == event.tokens.size()
                           : !event.top.empty() && event.top.size() == event.tokens.size();
  records.push_back(static_cast<int32_t>(event.kind));
  records.push_back(static_cast<int32_t>(event.request));
  records.push_back(is_error ? static_cast<int32_t>(message.size()) : event.text_units);
  records.push_back(static_cast<int32_t>(event.tokens.size()));
  records.push_back(has_top ? 1 : -1);
  records.insert(records.end(), event.tokens.begin(), event.tokens.end());
  text += is_error ? message : event.text;
  switch (event.kind) {
    case Event::Kind::piece:
      if (has_top) add_piece(event);
      return;
    case Event::Kind::done:
      add_end(event);
      break;
    case Event::Kind::error:
      records.push_back(static_cast<int32_t>(event.error.code()));
      break;
    case Event::Kind::score:
      add_score(event);
      break;
  }
  ++n_ended;
}

void PackedEvents::add(const EventBatch& events) {
  const size_t n_records = records.size(), n_numbers = numbers.size(), n_text = text.size();
  const int n_before = n_ended;
  try {
    for (const Event& event : events) add(event);
  } catch (...) {  // half a record would spoil all that follow
    records.resize(n_records);
    numbers.resize(n_numbers);
    text.resize(n_text);
    n_ended = n_before;
    throw;
  }
}

void PackedEvents::clear() {
  if (records.capacity() > k_most_capacity || numbers.capacity() > k_most_capacity) {
    *this = PackedEvents();
    return;
  }
  records.clear();
  numbers.clear();
  text.clear();
  n_ended = 0;
}

std::shared_ptr<EventChannel> EventChannel::open(Napi::Env env, Napi::Function on_events) {
  auto channel = std::make_shared<EventChannel>(on_events);
  const std::weak_ptr<EventChannel> weak = channel;
  channel->wake_up_ = WakeUp::create(env, "millrace:events", [weak](Napi::Env now) {
    if (const auto alive = weak.lock()) alive->wake(now);
  });
  return channel->wake_up_ ? channel : nullptr;
}

// The JS thread wakes at once: it must not find the lock taken and go to sleep again.
void EventChannel::deliver(EventBatch&& events) {
  {
    const std::lock_guard lock(mutex_);
    pending_.add(events);
  }
  wake_up_->wake();
}

// Wakes under the lock, so that nobody who sees the end closes the WakeUp meanwhile.
void EventChannel::finish() {
  const std::lock_guard lock(mutex_);
  is_finished_ = true;
  wake_up_->wake();
}

void EventChannel::add_live() {
  ++n_live_;
  wake_up_->hold(true);
}

void EventChannel::wake(Napi::Env env) {
  bool finished = false;
  {
    const std::lock_guard lock(mutex_);
    std::swap(pending_, taken_);
    finished = is_finished_;
  }
  n_live_ -= taken_.n_ended;
  if (!taken_.records.empty() && !is_closed_) call(env);
  taken_.clear();
  if (!finished) {
    if (n_live_ <= 0 && !is_held_) wake_up_->hold(false);
    return;
  }
  if (const WakeUp::Call on_finished = std::exchange(on_finished_, nullptr)) on_finished(env);
}

// Napi calls go unchecked on purpose: they fail only while the environment ends, when nobody
// listens any more, or with the exception of our own JS code, which Node then reports.
void EventChannel::call(Napi::Env env) {
  reserve(env);
  if (records_data_ == nullptr || numbers_data_ == nullptr) return;
  std::copy(taken_.records.begin(), taken_.records.end(), records_data_);
  std::copy(taken_.numbers.begin(), taken_.numbers.end(), numbers_data_);
  napi_value arguments[4], self, on_events, result;
  if (napi_create_uint32(env, static_cast<uint32_t>(taken_.records.size()), &arguments[0]) ||
      napi_get_reference_value(env, records_, &arguments[1]) ||
      napi_get_reference_value(env, numbers_, &arguments[2]) ||
      napi_create_string_utf8(env, taken_.text.data(), taken_.text.size(), &arguments[3]) ||
      napi_get_reference_value(env, on_events_, &on_events) || napi_get_undefined(env, &self))
    return;
  napi_call_function(env, self, on_events, 4, arguments, &result);
  if (records_capacity_ > k_most_capacity) records_data_ = nullptr, records_.Reset();
  if (numbers_capacity_ > k_most_capacity) numbers_data_ = nullptr, numbers_.Reset();
}

// The two arrays are made once and grow; JavaScript copies what it keeps.
void EventChannel::reserve(Napi::Env env) {
  if (taken_.records.size() > records_capacity_ || records_data_ == nullptr) {
    records_capacity_ = grown(taken_.records.size());
    auto array = Napi::Int32Array::New(env, records_capacity_);
    records_data_ = array.IsEmpty() ? nullptr : array.Data();
    if (records_data_ != nullptr) records_ = Napi::Reference<Napi::Int32Array>::New(array, 1);
  }
  if (taken_.numbers.size() > numbers_capacity_ || numbers_data_ == nullptr) {
    numbers_capacity_ = grown(taken_.numbers.size());
    auto array = Napi::Float64Array::New(env, numbers_capacity_);
    numbers_data_ = array.IsEmpty() ? nullptr : array.Data();
    if (numbers_data_ != nullptr) numbers_ = Napi::Reference<Napi::Float64Array>::New(array, 1);
  }
}

void EventChannel::close(Napi::Env env) {
  if (std::exchange(is_closed_, true)) return;
  const Napi::HandleScope scope(env);
  wake_up_->close();
  on_events_.Reset();
  records_.Reset();
  numbers_.Reset();
  on_finished_ = nullptr;
}

}  // namespace millrace
