#include <atomic>

#include "binding/job.h"
#include "binding/objects.h"
#include "binding/read.h"
#include "engine/cache-size.h"
#include "engine/sampler.h"
#include "model/forward.h"
#include "ops/device.h"

namespace millrace {

namespace {

using ModelHandle = Handle<OpenModel>;

constexpr int64_t k_score_rows = 32;  // rows of logits beside those of decoding sequences

Napi::Value tokens_array(Napi::Env env, const std::vector<int32_t>& tokens) {
  auto array = Napi::Int32Array::New(env, tokens.size());
  if (!array.IsEmpty() && !tokens.empty()) std::copy(tokens.begin(), tokens.end(), array.Data());
  return array;
}

// info(): NativeModelInfo. The primary end token comes first.
Napi::Value info_of_model(const Napi::CallbackInfo& info) {
  return ModelHandle::call(info, [&](OpenModel& open) -> Napi::Value {
    const Napi::Env env = info.Env();
    const ModelInfo& model = open.model->info();
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", model.name);
    object.Set("architecture", model.architecture);
    object.Set("quantization", model.quantization);
    object.Set("chatTemplate", model.chat_template);
    set_numbers(object, {{"parameters", model.parameters},
                         {"sizeBytes", model.size_bytes},
                         {"contextLength", model.context_length},
                         {"vocabularySize", model.vocab_size},
                         {"embeddingLength", model.embedding_length},
                         {"layers", model.layers},
                         {"heads", model.heads},
                         {"kvHeads", model.kv_heads},
                         {"headDim", model.head_dim},
                         {"bosToken", model.bos_token}});
    std::vector<int32_t> ends;
    const int32_t eos = open.model->tokenizer().eos();
    if (eos >= 0) ends.push_back(eos);
    for (const int32_t token : model.eos_tokens)
      if (token != eos) ends.push_back(token);
    object.Set("eosTokens", tokens_array(env, ends));
    return object;
  });
}

// tokenize(text: string | Uint8Array, addSpecial: boolean, parseSpecial: boolean): Int32Array
Napi::Value tokenize(const Napi::CallbackInfo& info) {
  return ModelHandle::call(info, [&](OpenModel& open) -> Napi::Value {
    const auto text = read_bytes("text", info[0]);
    if (!text.ok()) return throw_status(info.Env(), text.status());
    const EncodeOptions options = {.add_special = info[1].ToBoolean().Value(),
                                   .parse_special = info[2].ToBoolean().Value()};
    const auto tokens = open.model->tokenizer().encode(*text, options);
    if (!tokens.ok()) return throw_status(info.Env(), tokens.status());
    return tokens_array(info.Env(), *tokens);
  });
}

// detokenize(tokens: Int32Array, special: boolean): string
Napi::Value detokenize(const Napi::CallbackInfo& info) {
  return ModelHandle::call(info, [&](OpenModel& open) -> Napi::Value {
    const auto tokens = read_tokens("tokens", info[0]);
    if (!tokens.ok()) return throw_status(info.Env(), tokens.status());
    // Spaces as the vocabulary's makers render them, which the reference vectors hold too.
    const DecodeOptions options = {.special = info[1].ToBoolean().Value(), .clean_spaces = true};
    return Napi::String::New(info.Env(), open.model->tokenizer().decode(*tokens, options));
  });
}

// piece(token: number): Uint8Array, the raw bytes one token stands for
Napi::Value piece(const Napi::CallbackInfo& info) {
  return ModelHandle::call(
      info, [&](OpenModel& open) -> Napi::Value { return bytes_of_token(info, *open.model); });
}

// memory(context, sequences, stepTokens: number, cacheType: string):
//   { cacheBytes, workspaceBytes: number }, what an engine with these choices would take
Napi::Value memory(const Napi::CallbackInfo& info) {
  return ModelHandle::call(info, [&](OpenModel& open) -> Napi::Value {
    const Napi::Env env = info.Env();
    const auto integer = [&](size_t i) {
      return std::max<int64_t>(info[i].ToNumber().Int64Value(), 1);
    };
    const auto type = read_cache_type(info[3]);
    if (!type.ok()) return throw_status(env, type.status());
    if (open.model->vocabulary_only())
      return throw_status(env, error(ErrorCode::unsupported, "the model has no weights"));
    const auto cpu = open_cpu({.threads = 1});
    if (!cpu.ok()) return throw_status(env, cpu.status());
    const int64_t pages = (integer(0) + k_page_tokens - 1) / k_page_tokens * integer(1);
    const Config& config = open.model->config();
    const auto size = size_cache(config, (*cpu)->ops(),
                                 {*type, pages * k_page_tokens, 1, static_cast<size_t>(INT64_MAX)});
    if (!size.ok()) return throw_status(env, size.status());
    const int rows = static_cast<int>(std::min<int64_t>(integer(2), INT32_MAX));
    const int outputs = static_cast<int>(std::min<int64_t>(integer(1) + k_score_rows, rows));
    Napi::Object object = Napi::Object::New(env);
    set_numbers(object, {{"cacheBytes", size->size_bytes()},
                         {"workspaceBytes", Workspace::size_bytes(config, rows, outputs) +
                                                Sampler::size_bytes(outputs)}});
    return object;
  });
}

// close(): Promise<void>; idempotent. Engines keep the weights they use.
Napi::Value close(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    ModelHandle* handle = ModelHandle::of(env, info.This());
    if (handle == nullptr) return Napi::Value();
    const auto open = handle->take();
    if (open) report_bytes(env, -open->external_bytes);
    // Unmapping tens of gigabytes takes a while.
    return Job::start(env, [open](Job&) mutable {
      if (open) open->model.reset();
      return [](Napi::Env now) { return Result<Napi::Value>(now.Undefined()); };
    });
  });
}

Result<Napi::Value> wrap_model(Napi::Env env, std::shared_ptr<const Model> model) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("info", Napi::Function::New<info_of_model>(env, "info"));
  object.Set("tokenize", Napi::Function::New<tokenize>(env, "tokenize"));
  object.Set("detokenize", Napi::Function::New<detokenize>(env, "detokenize"));
  object.Set("piece", Napi::Function::New<piece>(env, "piece"));
  object.Set("memory", Napi::Function::New<memory>(env, "memory"));
  object.Set("close", Napi::Function::New<close>(env, "close"));
  auto open = std::make_shared<OpenModel>();
  open->external_bytes = model->info().size_bytes;
  open->model = std::move(model);
  report_bytes(env, open->external_bytes);
  return ModelHandle::wrap(env, object, std::move(open));
}

// Hooks that tell onProgress on the JS thread, at most once per wake-up.
OpenHooks hooks_of(Job& job, const std::shared_ptr<Napi::FunctionReference>& on_progress) {
  OpenHooks hooks;
  hooks.cancelled = [&job] { return job.cancelled(); };
  if (!on_progress) return hooks;
  hooks.progress = [&job, on_progress](double fraction) {
    job.post([on_progress, fraction](Napi::Env env) {
      if (!on_progress->IsEmpty()) on_progress->Call({Napi::Number::New(env, fraction)});
    });
  };
  return hooks;
}

}  // namespace

void OpenModel::abandon(Napi::Env env, const std::shared_ptr<OpenModel>& open) {
  report_bytes(env, -open->external_bytes);
}

Napi::Value bytes_of_token(const Napi::CallbackInfo& info, const Model& model) {
  if (!info[0].IsNumber())
    return throw_status(info.Env(),
                        error(ErrorCode::invalid_argument, "Expected \"token\" to be a number"));
  const auto bytes = model.tokenizer().piece(info[0].As<Napi::Number>().Int32Value());
  auto array = Napi::Uint8Array::New(info.Env(), bytes.size());
  if (!array.IsEmpty() && !bytes.empty()) std::copy(bytes.begin(), bytes.end(), array.Data());
  return array;
}

Napi::Value open_model(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    auto path = read_bytes("path", info[0]);
    if (!path.ok()) return throw_status(env, path.status());
    if (!info[1].IsObject())
      return throw_status(env, error(ErrorCode::invalid_argument, "Expected options"));
    const auto options = read_model_options(info[1].As<Napi::Object>());
    if (!options.ok()) return throw_status(env, options.status());
    std::shared_ptr<Napi::FunctionReference> on_progress;
    if (info[2].IsFunction())
      on_progress =
          std::make_shared<Napi::FunctionReference>(Napi::Persistent(info[2].As<Napi::Function>()));
    return Job::start(env, [path = *path, options = *options, on_progress](Job& job) {
      ModelOpenOptions now = options;
      now.hooks = hooks_of(job, on_progress);
      auto model = Model::open(path, now);
      if (model.ok() && job.cancelled())
        model = error(ErrorCode::aborted, "opening %s was aborted", path.c_str());
      return [model, on_progress](Napi::Env then) -> Result<Napi::Value> {
        if (on_progress) on_progress->Reset();
        TRY(model);
        return wrap_model(then, *model);
      };
    });
  });
}

}  // namespace millrace
