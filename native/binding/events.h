#pragma once
// Engine events -> one call into JavaScript per wake-up, whatever the number of sequences: records
// in one Int32Array, numbers in one Float64Array, all text as one string.
//
// onEvents(length, records, numbers, text); `length` Int32s of records are valid, one record after
// another, and numbers and text are consumed from the left in the same order:
//   kind, id, units, nTokens, nTop | tokens[nTokens] | by kind
//   0 piece: nTop < 0: nothing. Else per token numbers += its log-probability, then a list
//   1 done:  tokens and text are the whole answer, pieces included; reason, promptTokens,
//   cachedTokens, completionTokens; numbers += queueMs, firstTokenMs,
//            decodeMs
//   2 error: the code's number; text is the message
//   3 score: as done; numbers += log-probability of each token; nTop >= 0: then per token a list
// `units` UTF-16 code units of text belong to the record. A list is: n | tokens[n], numbers += n.
//
// Threads: deliver and finish on the engine thread (they pack), the rest on the JS thread.

#include <napi.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "binding/environment.h"
#include "binding/wake-up.h"
#include "engine/request.h"

namespace millrace {

// The events of a wake-up as they cross.
struct PackedEvents {
  std::vector<int32_t> records;
  std::vector<double> numbers;
  std::string text;
  int n_ended = 0;

  void add(const EventBatch& events);  // all or, where memory ends, none
  void clear();

 private:
  void add(const Event& event);
  void add_list(const std::vector<TokenLogprob>& list);
  void add_piece(const Event& event);
  void add_end(const Event& event);
  void add_score(const Event& event);
};

class EventChannel : public EventSink {
 public:
  // on_end is called once on the JS thread, after the last events, when finish() was called.
  static std::shared_ptr<EventChannel> open(Napi::Env env, Napi::Function on_events);
  explicit EventChannel(Napi::Function on_events) : on_events_(Napi::Persistent(on_events)) {}

  void deliver(EventBatch&& events) override;
  void finish();

  void add_live();  // one more request will end; keeps the program alive until then
  void when_finished(WakeUp::Call call) { on_finished_ = std::move(call); }
  void hold() { is_held_ = true, wake_up_->hold(true); }  // until finished
  void close(Napi::Env env);

 private:
  void wake(Napi::Env env);
  void call(Napi::Env env);
  void reserve(Napi::Env env);

  std::shared_ptr<WakeUp> wake_up_;
  Napi::FunctionReference on_events_;
  Napi::Reference<Napi::Int32Array> records_;
  Napi::Reference<Napi::Float64Array> numbers_;
  size_t records_capacity_ = 0, numbers_capacity_ = 0;
  int32_t* records_data_ = nullptr;
  double* numbers_data_ = nullptr;
  PackedEvents taken_;
  WakeUp::Call on_finished_;
  int n_live_ = 0;
  bool is_held_ = false;
  bool is_closed_ = false;

  std::mutex mutex_;
  PackedEvents pending_;
  bool is_finished_ = false;
};

}  // namespace millrace
