#include "engine/engine.h"

#include <algorithm>

#include "binding/job.h"
#include "binding/objects.h"
#include "binding/read.h"

namespace millrace {

namespace {

using EngineHandle = Handle<OpenEngine>;
using ModelHandle = Handle<OpenModel>;

// On the JS thread, after the last events: lets everything go and tells those who wait.
void release(Napi::Env env, const std::shared_ptr<OpenEngine>& open) {
  open->engine.reset();  // its thread is at its end
  Environment::of(env).remove(open->entry);
  open->channel->close(env);
  report_bytes(env, -open->external_bytes);
  for (const Napi::Promise::Deferred& closer : open->closers) closer.Resolve(env.Undefined());
  open->closers.clear();
}

// May be called again with a shorter drain.
void begin_close(const std::shared_ptr<OpenEngine>& open, int64_t drain_ms) {
  const bool is_first = !std::exchange(open->is_closing, true);
  if (!is_first) return open->engine->close_async(drain_ms, nullptr);
  open->channel->when_finished([open](Napi::Env env) { release(env, open); });
  open->engine->close_async(drain_ms, [channel = open->channel] { channel->finish(); });
}

// submit(request: NativeRequest): number, the id its events carry
Napi::Value submit(const Napi::CallbackInfo& info) {
  return EngineHandle::call(info, [&](OpenEngine& open) -> Napi::Value {
    const Napi::Env env = info.Env();
    if (!open.engine || !info[0].IsObject())
      return throw_status(env, error(ErrorCode::closed, "the engine is closed: open it again"));
    auto request = read_request(info[0].As<Napi::Object>());
    if (!request.ok()) return throw_status(env, request.status());
    // Ids start again after 2^31: the one that comes back has long ended.
    const int32_t id = open.last_id == INT32_MAX ? 1 : open.last_id + 1;
    const Status status = open.engine->submit(id, std::move(*request));
    if (!status.ok()) return throw_status(env, status);
    open.last_id = id;
    open.channel->add_live();
    return Napi::Number::New(env, id);
  });
}

// abort(id: number): void
// read(id: number): void; its pieces come from now on
// An id that has ended is ignored.
template <void (Engine::*command)(int64_t)>
Napi::Value tell(const Napi::CallbackInfo& info) {
  return EngineHandle::call(info, [&](OpenEngine& open) -> Napi::Value {
    if (open.engine && info[0].IsNumber())
      ((*open.engine).*command)(info[0].As<Napi::Number>().Int64Value());
    return info.Env().Undefined();
  });
}

// piece(token: number): Uint8Array, as the model's
Napi::Value piece(const Napi::CallbackInfo& info) {
  return EngineHandle::call(info, [&](OpenEngine& open) -> Napi::Value {
    const auto model = open.model.lock();
    if (!model)
      return throw_status(info.Env(),
                          error(ErrorCode::closed, "the engine is closed: open it again"));
    return bytes_of_token(info, *model);
  });
}

// stats(): EngineStats
Napi::Value stats(const Napi::CallbackInfo& info) {
  return EngineHandle::call(info, [&](OpenEngine& open) -> Napi::Value {
    const Napi::Env env = info.Env();
    if (!open.engine)
      return throw_status(env, error(ErrorCode::closed, "the engine is closed: open it again"));
    const EngineStats stats = open.engine->stats();
    Napi::Object object = Napi::Object::New(env);
    object.Set("state", stats.state);
    object.Set("device", stats.device);
    object.Set("hardware", stats.hardware);
    object.Set("ops", stats.ops);
    if (!stats.why_no_gpu.empty()) object.Set("whyNoGpu", stats.why_no_gpu);
    set_numbers(object, {{"threads", stats.threads},
                         {"running", stats.running},
                         {"waiting", stats.waiting},
                         {"pageTokens", stats.page_tokens},
                         {"pagesTotal", stats.pages_total},
                         {"pagesFree", stats.pages_free},
                         {"pagesCached", stats.pages_cached},
                         {"pagesHeld", stats.pages_held},
                         {"steps", stats.steps},
                         {"promptTokens", stats.prompt_tokens},
                         {"cachedTokens", stats.cached_tokens},
                         {"completionTokens", stats.completion_tokens},
                         {"preemptions", stats.preemptions},
                         {"evictions", stats.evictions},
                         {"finished", stats.finished},
                         {"aborted", stats.aborted},
                         {"failed", stats.failed},
                         {"rejected", stats.rejected},
                         {"weightsBytes", stats.weights_bytes},
                         {"cacheBytes", stats.cache_bytes},
                         {"workspaceBytes", stats.workspace_bytes}});
    object.Set("identityHolds", stats.identity_holds);
    return object;
  });
}

// close(drainMs: number): Promise<void>; negative drains without limit; idempotent
Napi::Value close(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    EngineHandle* handle = EngineHandle::of(env, info.This());
    if (handle == nullptr) return Napi::Value();
    const auto deferred = Napi::Promise::Deferred::New(env);
    const std::shared_ptr<OpenEngine>& open = handle->target();
    if (!open || !open->engine) {
      deferred.Resolve(env.Undefined());
      return deferred.Promise();
    }
    open->closers.push_back(deferred);
    open->channel->hold();
    begin_close(open, info[0].IsNumber() ? info[0].As<Napi::Number>().Int64Value() : -1);
    return deferred.Promise();
  });
}

// The environment is ending: no JavaScript runs any more.
void shut(Napi::Env env, const std::shared_ptr<OpenEngine>& open) {
  if (open->engine) open->engine->close(0);
  open->engine.reset();
  open->channel->close(env);
}

Result<Napi::Value> wrap_engine(Napi::Env env, std::shared_ptr<Engine> engine,
                                const std::weak_ptr<const Model>& model,
                                std::shared_ptr<EventChannel> channel) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("submit", Napi::Function::New<submit>(env, "submit"));
  object.Set("abort", Napi::Function::New<tell<&Engine::abort>>(env, "abort"));
  object.Set("read", Napi::Function::New<tell<&Engine::read>>(env, "read"));
  object.Set("piece", Napi::Function::New<piece>(env, "piece"));
  object.Set("stats", Napi::Function::New<stats>(env, "stats"));
  object.Set("close", Napi::Function::New<close>(env, "close"));
  auto open = std::make_shared<OpenEngine>();
  const EngineStats stats = engine->stats();
  open->engine = std::move(engine);
  open->model = model;
  open->channel = std::move(channel);
  open->entry = Environment::of(env).add([env, weak = std::weak_ptr<OpenEngine>(open)] {
    if (const auto alive = weak.lock()) shut(env, alive);
  });
  open->external_bytes = stats.cache_bytes + stats.workspace_bytes;
  report_bytes(env, open->external_bytes);
  return EngineHandle::wrap(env, object, std::move(open));
}

}  // namespace

void OpenEngine::abandon(Napi::Env, const std::shared_ptr<OpenEngine>& open) {
  if (open->engine && !open->is_closing) begin_close(open, 0);
}

Napi::Value open_engine(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    ModelHandle* handle = ModelHandle::of(env, info[0]);
    if (handle == nullptr) return Napi::Value();
    if (!handle->target())
      return throw_status(env, error(ErrorCode::closed, "the model is closed: open it again"));
    if (!info[1].IsObject() || !info[2].IsFunction())
      return throw_status(
          env, error(ErrorCode::invalid_argument, "Expected openEngine(model, options, onEvents)"));
    const auto options = read_engine_options(info[1].As<Napi::Object>());
    if (!options.ok()) return throw_status(env, options.status());
    const auto channel = EventChannel::open(env, info[2].As<Napi::Function>());
    if (!channel) return Napi::Value();
    return Job::start(env, [model = handle->target()->model, options = *options, channel](Job&) {
      auto engine = Engine::open(model, options, channel);
      return [engine, weak = std::weak_ptr(model), channel](Napi::Env then) -> Result<Napi::Value> {
        if (!engine.ok()) channel->close(then);
        TRY(engine);
        return wrap_engine(then, *engine, weak, channel);
      };
    });
  });
}

}  // namespace millrace
