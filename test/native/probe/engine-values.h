#pragma once
// Engine structs to and from JavaScript values, for the engine's probes.
// Threads: JS thread only.

#include <napi.h>

#include <string>
#include <vector>

#include "engine/request.h"
#include "engine/sampler.h"

namespace millrace {

inline std::vector<int32_t> ints_of(const Napi::Value& value) {
  if (!value.IsTypedArray()) return {};
  const auto array = value.As<Napi::Int32Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

inline Napi::Value to_int32(Napi::Env env, const std::vector<int32_t>& values) {
  auto array = Napi::Int32Array::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

inline double number_or(const Napi::Object& object, const char* name, double otherwise) {
  const Napi::Value value = object.Get(name);
  return value.IsNumber() ? value.ToNumber().DoubleValue() : otherwise;
}

inline std::vector<std::string> strings_of(const Napi::Value& value) {
  std::vector<std::string> strings;
  if (!value.IsArray()) return strings;
  const auto array = value.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); ++i) strings.push_back(array.Get(i).ToString());
  return strings;
}

// Fields by their API names; absent ones keep their defaults. logitBias: [[token, bias], ...].
inline Sampling sampling_of(const Napi::Object& object) {
  Sampling sampling;
  sampling.temperature = static_cast<float>(number_or(object, "temperature", 1));
  sampling.top_k = static_cast<int>(number_or(object, "topK", 0));
  sampling.top_p = static_cast<float>(number_or(object, "topP", 1));
  sampling.min_p = static_cast<float>(number_or(object, "minP", 0));
  sampling.seed = static_cast<uint64_t>(number_or(object, "seed", 0));
  sampling.repetition_penalty = static_cast<float>(number_or(object, "repetitionPenalty", 1));
  sampling.presence_penalty = static_cast<float>(number_or(object, "presencePenalty", 0));
  sampling.frequency_penalty = static_cast<float>(number_or(object, "frequencyPenalty", 0));
  sampling.logprobs = static_cast<int>(number_or(object, "logprobs", -1));
  if (object.Get("logitBias").IsArray()) {
    const auto list = object.Get("logitBias").As<Napi::Array>();
    for (uint32_t i = 0; i < list.Length(); ++i) {
      const auto pair = list.Get(i).As<Napi::Array>();
      sampling.logit_bias.emplace_back(pair.Get(0u).ToNumber().Int32Value(),
                                       pair.Get(1u).ToNumber().FloatValue());
    }
  }
  return sampling;
}

inline Request request_of(const Napi::Object& object) {
  Request request;
  const Napi::Value prompt = object.Get("prompt");
  request.is_text = prompt.IsString();
  if (request.is_text) request.text = prompt.ToString();
  request.tokens = ints_of(prompt);
  if (object.Get("score").ToBoolean()) request.kind = Request::Kind::score;
  request.score_top = static_cast<int>(number_or(object, "top", 0));
  request.max_tokens = static_cast<int>(number_or(object, "maxTokens", -1));
  request.stop = strings_of(object.Get("stop"));
  request.stop_tokens = ints_of(object.Get("stopTokens"));
  request.ignore_eos = object.Get("ignoreEos").ToBoolean();
  if (object.Has("wantsPieces")) request.wants_pieces = object.Get("wantsPieces").ToBoolean();
  request.priority = static_cast<Priority>(number_or(object, "priority", 1));
  request.deadline_ms = static_cast<int64_t>(number_or(object, "deadlineMs", 0));
  if (object.Get("cacheSalt").IsString()) request.cache_salt = object.Get("cacheSalt").ToString();
  request.sampling = sampling_of(object);
  return request;
}

// [[token, logprob], ...]
inline Napi::Array to_pairs(Napi::Env env, const std::vector<TokenLogprob>& list) {
  auto array = Napi::Array::New(env, list.size());
  for (size_t i = 0; i < list.size(); ++i) {
    auto pair = Napi::Array::New(env, 2);
    pair.Set(0u, Napi::Number::New(env, list[i].token));
    pair.Set(1u, Napi::Number::New(env, static_cast<double>(list[i].logprob)));
    array.Set(static_cast<uint32_t>(i), pair);
  }
  return array;
}

inline Napi::Object to_object(Napi::Env env, const Draw& draw) {
  auto object = Napi::Object::New(env);
  object.Set("token", Napi::Number::New(env, draw.token));
  object.Set("logprob", Napi::Number::New(env, static_cast<double>(draw.chosen.logprob)));
  object.Set("top", to_pairs(env, draw.top));
  object.Set("code", Napi::String::New(env, name_of(draw.status.code())));
  return object;
}

inline Napi::Object to_object(Napi::Env env, const Event& event) {
  constexpr const char* k_kinds[] = {"piece", "done", "error", "score"};
  constexpr const char* k_reasons[] = {"none", "stop", "length", "abort"};
  auto object = Napi::Object::New(env);
  object.Set("kind", Napi::String::New(env, k_kinds[static_cast<int>(event.kind)]));
  object.Set("id", Napi::Number::New(env, static_cast<double>(event.request)));
  object.Set("tokens", to_int32(env, event.tokens));
  object.Set("text", Napi::String::New(env, event.text));
  object.Set("textUnits", Napi::Number::New(env, event.text_units));
  object.Set("logprobs", to_pairs(env, event.logprobs));
  auto top = Napi::Array::New(env, event.top.size());
  for (size_t i = 0; i < event.top.size(); ++i) {
    top.Set(static_cast<uint32_t>(i), to_pairs(env, event.top[i]));
  }
  object.Set("top", top);
  object.Set("reason", Napi::String::New(env, k_reasons[static_cast<int>(event.reason)]));
  object.Set("code", Napi::String::New(env, name_of(event.error.code())));
  object.Set("message", Napi::String::New(env, event.error.message()));
  object.Set("promptTokens", Napi::Number::New(env, event.usage.prompt_tokens));
  object.Set("cachedTokens", Napi::Number::New(env, event.usage.cached_tokens));
  object.Set("completionTokens", Napi::Number::New(env, event.usage.completion_tokens));
  object.Set("queueMs", Napi::Number::New(env, event.timings.queue_ms));
  object.Set("firstTokenMs", Napi::Number::New(env, event.timings.first_token_ms));
  object.Set("decodeMs", Napi::Number::New(env, event.timings.decode_ms));
  auto scores = Napi::Float32Array::New(env, event.score_logprobs.size());
  std::copy(event.score_logprobs.begin(), event.score_logprobs.end(), scores.Data());
  object.Set("scoreLogprobs", scores);
  return object;
}

inline Napi::Array to_array(Napi::Env env, const EventBatch& events) {
  auto array = Napi::Array::New(env, events.size());
  for (size_t i = 0; i < events.size(); ++i) {
    array.Set(static_cast<uint32_t>(i), to_object(env, events[i]));
  }
  return array;
}

}  // namespace millrace
