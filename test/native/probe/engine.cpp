// Probe of the engine floor's parts that need no device: pages, prefix index, cache, order of
// waiting, random numbers and the sampler. Each maker returns an object whose functions share one
// part.

#include <napi.h>

#include <map>
#include <memory>

#include "devices.h"
#include "engine-values.h"
#include "engine/kv-cache.h"
#include "engine/queue.h"
#include "engine/random.h"
#include "engine/sampler.h"
#include "ops/device.h"
#include "probe.h"
#include "tensor/exponential.h"

namespace millrace {
namespace {

using Info = Napi::CallbackInfo;

int int_at(const Info& info, size_t i) { return info[i].ToNumber().Int32Value(); }

template <class F>
void method(Napi::Object& object, const char* name, F&& body) {
  object.Set(name, Napi::Function::New(object.Env(), std::forward<F>(body), name));
}

Napi::Value page_pool(const Info& info) {
  auto pool = std::make_shared<PagePool>(int_at(info, 0));
  auto object = Napi::Object::New(info.Env());
  method(object, "take", [pool](const Info& call) -> Napi::Value {
    std::vector<PageId> pages;
    if (!pool->take(int_at(call, 0), pages)) return call.Env().Null();
    return to_int32(call.Env(), pages);
  });
  method(object, "share", [pool](const Info& call) { pool->share(int_at(call, 0)); });
  method(object, "release", [pool](const Info& call) { pool->release(int_at(call, 0)); });
  method(object, "holders", [pool](const Info& call) {
    return Napi::Number::New(call.Env(), pool->holders(int_at(call, 0)));
  });
  method(object, "freeCount",
         [pool](const Info& call) { return Napi::Number::New(call.Env(), pool->free_count()); });
  return object;
}

struct KeyArgs {
  std::vector<int32_t> tokens;
  std::string scope;
  PageKey key;
  explicit KeyArgs(const Info& call)
      : tokens(ints_of(call[2])),
        scope(call[3].ToString()),
        key{int_at(call, 0), static_cast<PageHash>(call[1].ToNumber().Int64Value()), tokens.data(),
            scope} {}
};

Napi::Value prefix_index(const Info& info) {
  auto index = std::make_shared<PrefixIndex>(int_at(info, 0));
  auto object = Napi::Object::New(info.Env());
  method(object, "find", [index](const Info& call) {
    return Napi::Number::New(call.Env(), index->find(KeyArgs(call).key));
  });
  method(object, "insert", [index](const Info& call) {
    return Napi::Number::New(call.Env(), index->insert(KeyArgs(call).key, int_at(call, 4)));
  });
  method(object, "mostAlike", [index](const Info& call) {
    const auto [page, n_tokens] = index->most_alike(KeyArgs(call).key, int_at(call, 4));
    return to_int32(call.Env(), {page, n_tokens});
  });
  method(object, "lock", [index](const Info& call) { index->lock(int_at(call, 0)); });
  method(object, "unlock", [index](const Info& call) { index->unlock(int_at(call, 0)); });
  method(object, "evict",
         [index](const Info& call) { return Napi::Number::New(call.Env(), index->evict()); });
  method(object, "counts", [index](const Info& call) {
    return to_int32(call.Env(), {index->size(), index->unlocked()});
  });
  return object;
}

// Sequences are numbered by open(); their tokens come with each call.
struct CacheProbe {
  KvCache cache;
  std::map<int, PageTable> tables;
  int opened = 0;

  struct Text {
    std::vector<int32_t> tokens;
    std::string scope;
    std::vector<PageHash> chain;
    PageText text() const { return {tokens.data(), chain, scope}; }
  };
  Text text_of(const Info& call) const {
    Text text{ints_of(call[1]), call[2].ToString(), {}};
    const size_t width = static_cast<size_t>(cache.page_tokens());
    for (size_t i = 0; (i + 1) * width <= text.tokens.size(); ++i) {
      const PageHash before = i == 0 ? scope_hash(text.scope) : text.chain.back();
      text.chain.push_back(chain_hash(before, text.tokens.data() + i * width, cache.page_tokens()));
    }
    return text;
  }
  Status check() const {
    std::vector<const PageTable*> all;
    for (const auto& [id, table] : tables) all.push_back(&table);
    if (!cache.identity_holds()) return Status(ErrorCode::internal, "the counters do not add up");
    return cache.check(all);
  }
};

Napi::Value kv_cache(const Info& info) {
  auto probe = std::make_shared<CacheProbe>(CacheProbe{{int_at(info, 0), int_at(info, 1)}, {}, 0});
  auto object = Napi::Object::New(info.Env());
  method(object, "open", [probe](const Info& call) {
    probe->tables[probe->opened];
    return Napi::Number::New(call.Env(), probe->opened++);
  });
  method(object, "match", [probe](const Info& call) {
    const auto text = probe->text_of(call);
    PageTable& table = probe->tables[int_at(call, 0)];
    return Napi::Number::New(call.Env(), probe->cache.match(table, text.text(), int_at(call, 3)));
  });
  method(object, "grow", [probe](const Info& call) {
    const bool grown = probe->cache.grow(probe->tables[int_at(call, 0)], int_at(call, 1));
    return Napi::Boolean::New(call.Env(), grown);
  });
  method(object, "publish", [probe](const Info& call) {
    const auto text = probe->text_of(call);
    probe->cache.publish(probe->tables[int_at(call, 0)], text.text(), int_at(call, 3));
  });
  method(object, "publishEnd", [probe](const Info& call) {
    const auto text = probe->text_of(call);
    probe->cache.publish_end(probe->tables[int_at(call, 0)], text.text(), int_at(call, 3));
  });
  method(object, "mostAlike", [probe](const Info& call) {
    const auto text = probe->text_of(call);
    const auto [page, n_tokens] =
        probe->cache.most_alike(probe->tables[int_at(call, 0)], text.text(), int_at(call, 3));
    return to_int32(call.Env(), {page, n_tokens});
  });
  method(object, "release", [probe](const Info& call) {
    probe->cache.release(probe->tables[int_at(call, 0)]);
    probe->tables.erase(int_at(call, 0));
  });
  method(object, "pages", [probe](const Info& call) {
    return to_int32(call.Env(), probe->tables[int_at(call, 0)].pages);
  });
  method(object, "counts", [probe](const Info& call) {
    const KvCache& cache = probe->cache;
    return to_int32(call.Env(), {cache.free_count(), cache.cached_count(), cache.held_count(),
                                 cache.total(), static_cast<int>(cache.evictions())});
  });
  method(object, "check", [probe](const Info& call) {
    return Napi::String::New(call.Env(), probe->check().message());
  });
  return object;
}

// [[priority, submittedMs], ...] in order of arrival; the indices in order of the queue.
Napi::Value waiting_order(const Info& info) {
  const auto list = info[0].As<Napi::Array>();
  std::vector<std::unique_ptr<Sequence>> sequences;
  WaitingQueue queue;
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const auto pair = list.Get(i).As<Napi::Array>();
    auto sequence = std::make_unique<Sequence>();
    sequence->id = i;
    sequence->arrival = i;
    const int priority = pair.Get(0u).ToNumber().Int32Value();
    sequence->request.priority = static_cast<Priority>(priority);
    sequence->submitted_ms = pair.Get(1u).ToNumber().DoubleValue();
    sequences.push_back(std::move(sequence));
  }
  for (size_t i = sequences.size(); i-- > 0;) queue.push(*sequences[i]);
  std::vector<int32_t> order;
  for (const Sequence* sequence : queue) order.push_back(static_cast<int32_t>(sequence->id));
  return to_int32(info.Env(), order);
}

Napi::Value philox_words(const Info& info) {
  const auto counter = info[0].As<Napi::Uint32Array>();
  const auto key = info[1].As<Napi::Uint32Array>();
  const auto words = philox({counter[0], counter[1], counter[2], counter[3]}, {key[0], key[1]});
  auto array = Napi::Uint32Array::New(info.Env(), 4);
  for (size_t i = 0; i < 4; ++i) array[i] = words[i];
  return array;
}

Napi::Value uniform_numbers(const Info& info) {
  const auto seed = static_cast<uint64_t>(info[0].ToNumber().Int64Value());
  const auto n = static_cast<size_t>(int_at(info, 1));
  auto array = Napi::Float64Array::New(info.Env(), n);
  for (size_t i = 0; i < n; ++i) array[i] = uniform(seed, i);
  return array;
}

struct Logits {
  std::vector<float> values;
  explicit Logits(const Napi::Value& value) {
    const auto array = value.As<Napi::Float32Array>();
    values.assign(array.Data(), array.Data() + array.ElementLength());
  }
  int n() const { return static_cast<int>(values.size()); }
};

// From { position, prompt, output } or { target, nTop }.
Wanted wanted_of(const Napi::Object& state, const Sampling& sampling, TokenCounts& counts) {
  Wanted wanted{&sampling, &counts, 0, std::max(0, sampling.logprobs)};
  if (state.Has("target")) {
    wanted.is_score = true;
    wanted.target = state.Get("target").ToNumber().Int32Value();
    wanted.n_top = state.Get("nTop").ToNumber().Int32Value();
    return wanted;
  }
  const std::vector<int32_t> prompt = ints_of(state.Get("prompt"));
  counts.add_prompt(prompt.data(), static_cast<int>(prompt.size()));
  for (const int32_t token : ints_of(state.Get("output"))) counts.add_output(token);
  wanted.position = static_cast<uint64_t>(state.Get("position").ToNumber().Int64Value());
  return wanted;
}

// (table, logits, sampling, states): a draw for each state, all of the same logits, on the device
// of a table. A state with `target` is a score of nTop.
Napi::Value draw_tokens(const Info& info) {
  const auto device = open_table(info[0].ToString(), 2);
  if (!device.ok()) return throw_status(info.Env(), device.status());
  const Logits logits(info[1]);
  const Sampling sampling = sampling_of(info[2].As<Napi::Object>());
  const auto states = info[3].As<Napi::Array>();
  const size_t n = states.Length();
  std::vector<TokenCounts> counts(n);
  std::vector<Wanted> wanted;
  std::vector<float> values;
  for (size_t i = 0; i < n; ++i) {
    const auto state = states.Get(static_cast<uint32_t>(i)).As<Napi::Object>();
    values.insert(values.end(), logits.values.begin(), logits.values.end());
    wanted.push_back(wanted_of(state, sampling, counts[i]));
  }
  auto sampler = Sampler::create(**device, static_cast<int>(n), logits.n());
  if (!sampler.ok()) return throw_status(info.Env(), sampler.status());
  std::vector<Draw> draws;
  const Status status = (*sampler)->draw(**device, values.data(), wanted, draws);
  if (!status.ok()) return throw_status(info.Env(), status);
  auto list = Napi::Array::New(info.Env());
  for (const Draw& draw : draws) list.Set(list.Length(), to_object(info.Env(), draw));
  return list;
}

Napi::Value exponential(const Info& info) {
  return Napi::Number::New(info.Env(), exp_of(info[0].ToNumber().FloatValue()));
}

}  // namespace

void register_engine(Napi::Env env, Napi::Object exports) {
  (void)env;
  method(exports, "pagePool", page_pool);
  method(exports, "prefixIndex", prefix_index);
  method(exports, "kvCache", kv_cache);
  method(exports, "waitingOrder", waiting_order);
  method(exports, "philox", philox_words);
  method(exports, "uniform", uniform_numbers);
  method(exports, "drawTokens", draw_tokens);
  method(exports, "expOf", exponential);
}

}  // namespace millrace
