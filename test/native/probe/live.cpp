// Probe of the whole engine on a real model, without the binding: requests in, events collected,
// and things to do when so many tokens have come. Calls block the JavaScript thread on purpose.

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "engine-values.h"
#include "engine/engine.h"
#include "ops/device.h"
#include "probe.h"

namespace millrace {
namespace {

using Info = Napi::CallbackInfo;

// Collects events and, on the engine thread, sends what waits for the token count.
struct LiveSink : EventSink {
  struct Later {
    int64_t id;
    bool is_abort;
    Request request;
  };
  std::mutex mutex;
  std::condition_variable changed;
  EventBatch events;
  int64_t tokens = 0;
  int ends = 0;
  bool is_serial = false;               // the next later request goes when one ends
  std::multimap<int64_t, Later> later;  // by the token count it waits for
  std::weak_ptr<Engine> engine;

  void deliver(EventBatch&& batch) override {
    std::vector<Later> due;
    {
      const std::lock_guard lock(mutex);
      for (Event& event : batch) {
        const bool is_end = event.kind != Event::Kind::piece;
        if (!is_end) tokens += static_cast<int64_t>(event.tokens.size());
        ends += is_end ? 1 : 0;
        const bool goes = is_serial ? is_end : true;
        events.push_back(std::move(event));
        while (goes && !later.empty() && (is_serial || later.begin()->first <= tokens)) {
          due.push_back(std::move(later.begin()->second));
          later.erase(later.begin());
          if (is_serial) break;
        }
      }
    }
    changed.notify_all();
    send(due);
  }

  void send(std::vector<Later>& due) {
    const std::shared_ptr<Engine> target = engine.lock();
    for (Later& one : due) {
      if (!target) return;
      if (one.is_abort) {
        target->abort(one.id);
      } else if (const Status status = target->submit(one.id, std::move(one.request));
                 !status.ok()) {
        const std::lock_guard lock(mutex);
        Event event;
        event.kind = Event::Kind::error;
        event.request = one.id;
        event.error = status;
        events.push_back(std::move(event));
        ++ends;
      }
    }
  }
};

struct LiveProbe {
  std::shared_ptr<LiveSink> sink = std::make_shared<LiveSink>();
  std::shared_ptr<Engine> engine;
  bool is_closed = false;
};

Napi::Value stats_of(Napi::Env env, const EngineStats& stats) {
  auto object = Napi::Object::New(env);
  const auto set = [&](const char* name, int64_t value) {
    object.Set(name, Napi::Number::New(env, static_cast<double>(value)));
  };
  set("threads", stats.threads);
  set("running", stats.running);
  set("waiting", stats.waiting);
  set("pageTokens", stats.page_tokens);
  set("pagesTotal", stats.pages_total);
  set("pagesFree", stats.pages_free);
  set("pagesCached", stats.pages_cached);
  set("pagesHeld", stats.pages_held);
  set("steps", stats.steps);
  set("cachedTokens", stats.cached_tokens);
  set("completionTokens", stats.completion_tokens);
  set("preemptions", stats.preemptions);
  set("evictions", stats.evictions);
  set("finished", stats.finished);
  set("aborted", stats.aborted);
  set("failed", stats.failed);
  set("rejected", stats.rejected);
  object.Set("ops", Napi::String::New(env, stats.ops));
  object.Set("state", Napi::String::New(env, stats.state));
  object.Set("identityHolds", Napi::Boolean::New(env, stats.identity_holds));
  return object;
}

DType type_of(const Napi::Value& value) {
  const std::string name = value.IsString() ? value.ToString() : std::string("f16");
  if (name == "f32") return DType::f32;
  if (name == "q8_0") return DType::q8_0;
  return name == "bf16" ? DType::bf16 : DType::f16;
}

EngineOptions options_of(const Napi::Object& object) {
  EngineOptions options;
  options.threads = static_cast<int>(number_or(object, "threads", 2));
  options.max_sequences = static_cast<int>(number_or(object, "maxSequences", 0));
  options.cache_tokens = static_cast<int64_t>(number_or(object, "cacheTokens", 4096));
  options.step_tokens = static_cast<int>(number_or(object, "stepTokens", 0));
  options.queue_limit = static_cast<int>(number_or(object, "queueLimit", 0));
  options.cache_type = type_of(object.Get("cacheType"));
  if (object.Get("device").IsString()) options.device = object.Get("device").ToString();
  return options;
}

// later(afterTokens, id, request): submitted when so many tokens have come; without a request:
// abort.
void add_later(LiveProbe& probe, const Info& call) {
  LiveSink::Later later{call[1].ToNumber().Int64Value(), !call[2].IsObject(), {}};
  if (!later.is_abort) later.request = request_of(call[2].As<Napi::Object>());
  const std::lock_guard lock(probe.sink->mutex);
  probe.sink->later.emplace(call[0].ToNumber().Int64Value(), std::move(later));
}

// (ends, timeoutMs): whether so many requests have ended in time.
bool wait_for(LiveProbe& probe, const Info& call) {
  const int wanted = call[0].ToNumber().Int32Value();
  const auto time = std::chrono::milliseconds(call[1].ToNumber().Int64Value());
  std::unique_lock lock(probe.sink->mutex);
  return probe.sink->changed.wait_for(lock, time, [&] { return probe.sink->ends >= wanted; });
}

// (tokens, timeoutMs): whether so many tokens have come in time.
bool wait_for_tokens(LiveProbe& probe, const Info& call) {
  const int64_t wanted = call[0].ToNumber().Int64Value();
  const auto time = std::chrono::milliseconds(call[1].ToNumber().Int64Value());
  std::unique_lock lock(probe.sink->mutex);
  return probe.sink->changed.wait_for(lock, time, [&] { return probe.sink->tokens >= wanted; });
}

void add_calls(Napi::Object& object, const std::shared_ptr<LiveProbe>& probe) {
  const auto method = [&](const char* name, auto body) {
    object.Set(name, Napi::Function::New(object.Env(), body, name));
  };
  method("submit", [probe](const Info& call) {
    const Status status = probe->engine->submit(call[0].ToNumber().Int64Value(),
                                                request_of(call[1].As<Napi::Object>()));
    const std::string text = std::string(name_of(status.code())) + ": " + status.message();
    return Napi::String::New(call.Env(), status.ok() ? "" : text);
  });
  method("later", [probe](const Info& call) { add_later(*probe, call); });
  method("serial", [probe](const Info&) { probe->sink->is_serial = true; });
  method("abort",
         [probe](const Info& call) { probe->engine->abort(call[0].ToNumber().Int64Value()); });
  method("read",
         [probe](const Info& call) { probe->engine->read(call[0].ToNumber().Int64Value()); });
  method("wait", [probe](const Info& call) {
    return Napi::Boolean::New(call.Env(), wait_for(*probe, call));
  });
  method("waitForTokens", [probe](const Info& call) {
    return Napi::Boolean::New(call.Env(), wait_for_tokens(*probe, call));
  });
  method("events", [probe](const Info& call) -> Napi::Value {
    EventBatch events;
    {
      const std::lock_guard lock(probe->sink->mutex);
      events.swap(probe->sink->events);
      probe->sink->ends = 0;
    }
    return to_array(call.Env(), events);
  });
  method("stats",
         [probe](const Info& call) { return stats_of(call.Env(), probe->engine->stats()); });
  method("close", [probe](const Info& call) {
    probe->engine->close(call[0].IsNumber() ? call[0].ToNumber().Int64Value() : -1);
  });
  method("closeAsync", [probe](const Info& call) {
    probe->engine->close_async(call[0].ToNumber().Int64Value(), [sink = probe->sink, probe] {
      const std::lock_guard lock(sink->mutex);
      probe->is_closed = true;
    });
  });
  method("closed", [probe](const Info& call) {
    const std::lock_guard lock(probe->sink->mutex);
    return Napi::Boolean::New(call.Env(), probe->is_closed);
  });
  method("drop", [probe](const Info&) { probe->engine.reset(); });
}

// Models are shared by path, as an application shares them between engines.
Result<std::shared_ptr<const Model>> shared_model(const std::string& path) {
  static std::map<std::string, std::weak_ptr<const Model>> models;
  if (auto known = models[path].lock()) return known;
  auto model = Model::open(path, {});
  TRY(model);
  models[path] = *model;
  return model;
}

Napi::Value live_engine(const Info& info) {
  const auto options = info[0].As<Napi::Object>();
  auto model = shared_model(options.Get("path").ToString());
  if (!model.ok()) return throw_status(info.Env(), model.status());
  auto probe = std::make_shared<LiveProbe>();
  auto engine = Engine::open(*model, options_of(options), probe->sink);
  if (!engine.ok()) return throw_status(info.Env(), engine.status());
  probe->engine = *engine;
  probe->sink->engine = *engine;
  auto object = Napi::Object::New(info.Env());
  add_calls(object, probe);
  return object;
}

}  // namespace

void register_live(Napi::Env env, Napi::Object exports) {
  exports.Set("liveEngine", Napi::Function::New(env, live_engine));
  exports.Set("failAllocAfter", Napi::Function::New(env, [](const Info& call) {
                fail_alloc_after(call[0].ToNumber().Int32Value());
              }));
}

}  // namespace millrace
