// Probe of the scheduler, driven step by step with a model that costs nothing. Its K and V are one
// number per position, computed from the number before it, which is read through the sequence's
// pages: a page that is shared wrongly, reused too early or not filled gives other tokens.

#include <napi.h>

#include <algorithm>
#include <deque>
#include <memory>

#include "engine-values.h"
#include "engine/scheduler.h"

namespace millrace {
namespace {

using Info = Napi::CallbackInfo;

uint64_t stir(uint64_t x) {
  x = (x ^ (x >> 31)) * 0x7fb5d329728ea185u;
  x = (x ^ (x >> 27)) * 0x81dadef4bc2dd44du;
  return x ^ (x >> 33);
}

uint64_t next_state(uint64_t before, int32_t token, int position) {
  return stir(before ^ stir(static_cast<uint64_t>(token) << 32 | static_cast<uint32_t>(position)));
}

int32_t token_after(uint64_t state, uint64_t seed, int vocab_size) {
  return static_cast<int32_t>(stir(state ^ stir(seed)) % static_cast<uint64_t>(vocab_size));
}

float score_after(uint64_t state, int32_t target) {
  return -static_cast<float>(stir(state ^ static_cast<uint64_t>(target)) % 4096) / 64;
}

struct SchedulerProbe {
  Scheduler scheduler;
  std::vector<uint64_t> memory;         // one state per cached position
  std::deque<std::vector<Draw>> draws;  // of each step that is not committed
  EventBatch events;
  int64_t copies = 0;

  SchedulerProbe(const Limits& limits, int pages, int page_tokens)
      : scheduler(limits, KvCache(pages, page_tokens)),
        memory(static_cast<size_t>(pages) * static_cast<size_t>(page_tokens)) {}

  uint64_t& state_at(const Span& span, int position) {
    const int width = scheduler.cache().page_tokens();
    const int slot = span.pages[position / width] * width + position % width;
    return memory[static_cast<size_t>(slot)];
  }

  void copy_pages(const Batch& batch) {
    const auto width = static_cast<size_t>(scheduler.cache().page_tokens());
    for (const auto [from, to] : batch.copies) {
      uint64_t* page = memory.data() + static_cast<size_t>(from) * width;
      std::copy_n(page, width, memory.data() + static_cast<size_t>(to) * width);
      ++copies;
    }
  }

  // As a device does: in the order in which steps are asked for, whatever is known of them by then.
  void forward(const Batch& batch) {
    copy_pages(batch);
    std::vector<Draw> drawn(batch.outputs.size());
    size_t output = 0;
    for (size_t s = 0; s < batch.spans.size(); ++s) {
      const Span& span = batch.spans[s];
      const Sequence& sequence = *batch.sequences[s];
      for (int i = 0; i < span.n_rows; ++i) {
        const int position = span.first_position + i;
        const uint64_t before = position == 0 ? 0 : state_at(span, position - 1);
        const int row = span.first_row + i;
        const int32_t known = batch.tokens[static_cast<size_t>(row)];
        const int32_t token = known >= 0 ? known : draws.back()[static_cast<size_t>(~known)].token;
        const uint64_t state = state_at(span, position) = next_state(before, token, position);
        if (output == drawn.size() || batch.output_rows[output] != row) continue;
        Draw& draw = drawn[output++];
        const size_t next = static_cast<size_t>(position) + 1;
        const bool has_target = sequence.is_score() && next < sequence.tokens.size();
        draw.token =
            token_after(state, sequence.request.sampling.seed, scheduler.limits().vocab_size);
        if (has_target) draw.chosen.logprob = score_after(state, sequence.tokens[next]);
      }
    }
    draws.push_back(std::move(drawn));
  }
};

Limits limits_of(const Napi::Object& object) {
  Limits limits;
  limits.max_sequences = static_cast<int>(number_or(object, "maxSequences", 4));
  limits.step_tokens = static_cast<int>(number_or(object, "stepTokens", 16));
  limits.max_outputs = static_cast<int>(number_or(object, "maxOutputs", 8));
  limits.context = static_cast<int>(number_or(object, "context", 256));
  limits.vocab_size = static_cast<int>(number_or(object, "vocabSize", 64));
  limits.end_tokens = ints_of(object.Get("endTokens"));
  return limits;
}

Napi::Object counters(Napi::Env env, const SchedulerProbe& probe) {
  const Scheduler& scheduler = probe.scheduler;
  const KvCache& cache = scheduler.cache();
  auto object = Napi::Object::New(env);
  const auto set = [&](const char* name, int64_t value) {
    object.Set(name, Napi::Number::New(env, static_cast<double>(value)));
  };
  set("running", scheduler.running());
  set("waiting", scheduler.waiting());
  set("free", cache.free_count());
  set("cached", cache.cached_count());
  set("held", cache.held_count());
  set("evictions", cache.evictions());
  set("preemptions", scheduler.counts().preemptions);
  set("steps", scheduler.counts().steps);
  set("cachedTokens", scheduler.counts().cached_tokens);
  set("copies", probe.copies);
  return object;
}

// What the batch is made of: [[id, firstPosition, rows], ...].
Napi::Array spans_of(Napi::Env env, const Batch& batch) {
  auto array = Napi::Array::New(env, batch.spans.size());
  for (size_t i = 0; i < batch.spans.size(); ++i) {
    const Span& span = batch.spans[i];
    array.Set(static_cast<uint32_t>(i), to_int32(env, {static_cast<int32_t>(batch.sequences[i]->id),
                                                       span.first_position, span.n_rows}));
  }
  return array;
}

Napi::Value take_events(Napi::Env env, SchedulerProbe& probe) {
  EventBatch events;
  events.swap(probe.events);
  return to_array(env, events);
}

Napi::Value scheduler_probe(const Info& info) {
  const auto options = info[0].As<Napi::Object>();
  auto probe = std::make_shared<SchedulerProbe>(
      limits_of(options), static_cast<int>(number_or(options, "pages", 16)),
      static_cast<int>(number_or(options, "pageTokens", 4)));
  auto object = Napi::Object::New(info.Env());
  const auto method = [&](const char* name, auto body) {
    object.Set(name, Napi::Function::New(info.Env(), body, name));
  };
  method("add", [probe](const Info& call) {
    auto sequence = std::make_unique<Sequence>();
    sequence->id = call[0].ToNumber().Int64Value();
    sequence->request = request_of(call[1].As<Napi::Object>());
    sequence->tokens = std::move(sequence->request.tokens);
    sequence->submitted_ms = call[2].ToNumber().DoubleValue();
    probe->scheduler.add(std::move(sequence), call[2].ToNumber().DoubleValue(), probe->events);
  });
  method("abort", [probe](const Info& call) {
    probe->scheduler.abort(call[0].ToNumber().Int64Value(), call[1].ToNumber().DoubleValue(),
                           probe->events);
  });
  method("schedule", [probe](const Info& call) {
    const Batch& batch = probe->scheduler.schedule(call[0].ToNumber().DoubleValue(), probe->events);
    if (!batch.empty()) probe->forward(batch);
    return spans_of(call.Env(), batch);
  });
  method("scheduleAhead", [probe](const Info& call) -> Napi::Value {
    const Batch* batch = probe->scheduler.schedule_ahead(call[0].ToNumber().DoubleValue());
    if (batch == nullptr) return call.Env().Null();
    probe->forward(*batch);
    return spans_of(call.Env(), *batch);
  });
  method("hasScheduled", [probe](const Info& call) {
    return Napi::Boolean::New(call.Env(), probe->scheduler.has_scheduled());
  });
  method("commit", [probe](const Info& call) {
    probe->scheduler.commit(probe->draws.front(), call[0].ToNumber().DoubleValue(), probe->events);
    probe->draws.pop_front();
  });
  method("events", [probe](const Info& call) { return take_events(call.Env(), *probe); });
  method("idle", [probe](const Info& call) {
    return Napi::Boolean::New(call.Env(), probe->scheduler.idle());
  });
  method("check", [probe](const Info& call) {
    return Napi::String::New(call.Env(), probe->scheduler.check().message());
  });
  method("counters", [probe](const Info& call) { return counters(call.Env(), *probe); });
  return object;
}

// (prompt, seed, n, vocabSize): the fake model's answer without pages, batches or a scheduler.
Napi::Value fake_answer(const Info& info) {
  std::vector<int32_t> tokens = ints_of(info[0]);
  const auto seed = static_cast<uint64_t>(info[1].ToNumber().Int64Value());
  const auto wanted = tokens.size() + static_cast<size_t>(info[2].ToNumber().Int32Value());
  uint64_t state = 0;
  for (size_t i = 0; tokens.size() < wanted; ++i) {
    state = next_state(state, tokens[i], static_cast<int>(i));
    if (i + 1 < tokens.size()) continue;
    tokens.push_back(token_after(state, seed, info[3].ToNumber().Int32Value()));
  }
  tokens.erase(tokens.begin(),
               tokens.begin() + static_cast<std::ptrdiff_t>(ints_of(info[0]).size()));
  return to_int32(info.Env(), tokens);
}

Napi::Value fake_score(const Info& info) {
  const std::vector<int32_t> tokens = ints_of(info[0]);
  auto scores = Napi::Float32Array::New(info.Env(), tokens.size());
  uint64_t state = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    state = next_state(state, tokens[i], static_cast<int>(i));
    if (i + 1 < tokens.size()) scores[i + 1] = score_after(state, tokens[i + 1]);
  }
  return scores;
}

}  // namespace

void register_scheduler(Napi::Env env, Napi::Object exports) {
  exports.Set("scheduler", Napi::Function::New(env, scheduler_probe));
  exports.Set("fakeAnswer", Napi::Function::New(env, fake_answer));
  exports.Set("fakeScore", Napi::Function::New(env, fake_score));
}

}  // namespace millrace
