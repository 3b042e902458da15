#include "binding/read.h"

#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>

namespace millrace {

namespace {

Status expected(const char* name, const char* what) {
  return error(ErrorCode::invalid_argument, "Expected \"%s\" to be %s", name, what);
}

// Reads the named fields of one object and keeps the first mistake. A missing field leaves the
// struct's own value.
class Reader {
 public:
  explicit Reader(Napi::Object object) : object_(object) {}
  const Status& status() const { return status_; }

  template <class Number>
  void number(const char* name, Number& into) {
    Napi::Value value;
    if (!find(name, value)) return;
    const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue()
                                           : std::numeric_limits<double>::quiet_NaN();
    // The limits of an integer, rounded to double; 2^63 itself would not fit.
    const double most = static_cast<double>(std::numeric_limits<Number>::max());
    const double least = static_cast<double>(std::numeric_limits<Number>::lowest());
    const bool fits = std::is_floating_point_v<Number> ? number >= least && number <= most
                                                       : number == std::floor(number) &&
                                                             number >= least && number <= most &&
                                                             number < 9007199254740993.0;
    if (fits)
      into = static_cast<Number>(number);
    else
      fail(expected(name, "a number that fits"));
  }

  void boolean(const char* name, bool& into) {
    Napi::Value value;
    if (!find(name, value)) return;
    if (value.IsBoolean())
      into = value.As<Napi::Boolean>().Value();
    else
      fail(expected(name, "a boolean"));
  }

  void text(const char* name, std::string& into) {
    Napi::Value value;
    if (!find(name, value)) return;
    if (value.IsString())
      into = value.As<Napi::String>().Utf8Value();
    else
      fail(expected(name, "a string"));
  }

  void texts(const char* name, std::vector<std::string>& into) {
    Napi::Value value;
    if (!find(name, value)) return;
    if (!value.IsArray()) return fail(expected(name, "an array of strings"));
    const auto array = value.As<Napi::Array>();
    for (uint32_t i = 0; i < array.Length(); ++i) {
      const Napi::Value item = array.Get(i);
      if (!item.IsString()) return fail(expected(name, "an array of strings"));
      into.push_back(item.As<Napi::String>().Utf8Value());
    }
  }

  void tokens(const char* name, std::vector<int32_t>& into) {
    Napi::Value value;
    if (!find(name, value)) return;
    auto read = read_tokens(name, value);
    if (read.ok())
      into = std::move(*read);
    else
      fail(read.status());
  }

  // One of `names`, as its index.
  template <class Enum, size_t n>
  void choice(const char* name, const char* const (&names)[n], Enum& into) {
    std::string chosen;
    Napi::Value value;
    if (!find(name, value)) return;
    text(name, chosen);
    for (size_t i = 0; i < n; ++i)
      if (chosen == names[i]) {
        into = static_cast<Enum>(i);
        return;
      }
    fail(expected(name, "one of its documented names"));
  }

  bool find(const char* name, Napi::Value& value) {
    value = object_.Get(name);
    return !value.IsEmpty() && !value.IsUndefined();
  }
  void fail(Status status) {
    if (status_.ok()) status_ = std::move(status);
  }

 private:
  Napi::Object object_;
  Status status_;
};

constexpr const char* k_priorities[] = {"interactive", "normal", "batch"};
constexpr const char* k_kinds[] = {"generate", "score"};

// Two arrays of equal length: the tokens and what is added to their logits.
void read_logit_bias(Reader& reader, Sampling& sampling) {
  Napi::Value value;
  if (!reader.find("biasTokens", value)) return;
  std::vector<int32_t> tokens;
  reader.tokens("biasTokens", tokens);
  if (!reader.find("biasValues", value) || !value.IsTypedArray() ||
      value.As<Napi::TypedArray>().TypedArrayType() != napi_float32_array ||
      value.As<Napi::TypedArray>().ElementLength() != tokens.size())
    return reader.fail(expected("biasValues", "a Float32Array as long as biasTokens"));
  const auto values = value.As<Napi::Float32Array>();
  for (size_t i = 0; i < tokens.size(); ++i) sampling.logit_bias.emplace_back(tokens[i], values[i]);
}

void read_sampling(Reader& reader, Sampling& sampling) {
  reader.number("temperature", sampling.temperature);
  reader.number("topK", sampling.top_k);
  reader.number("topP", sampling.top_p);
  reader.number("minP", sampling.min_p);
  reader.number("seed", sampling.seed);
  reader.number("repetitionPenalty", sampling.repetition_penalty);
  reader.number("presencePenalty", sampling.presence_penalty);
  reader.number("frequencyPenalty", sampling.frequency_penalty);
  reader.number("logprobs", sampling.logprobs);
  read_logit_bias(reader, sampling);
}

}  // namespace

Result<ModelOpenOptions> read_model_options(Napi::Object object) {
  ModelOpenOptions options;
  Reader reader(object);
  reader.boolean("useMmap", options.use_mmap);
  reader.boolean("vocabularyOnly", options.vocabulary_only);
  TRY(reader.status());
  return options;
}

Result<EngineOptions> read_engine_options(Napi::Object object) {
  EngineOptions options;
  Reader reader(object);
  reader.text("device", options.device);
  reader.number("threads", options.threads);
  reader.number("maxSequences", options.max_sequences);
  reader.number("cacheTokens", options.cache_tokens);
  Napi::Value cache_type;
  if (reader.find("cacheType", cache_type)) {
    const auto type = read_cache_type(cache_type);
    TRY(type);
    options.cache_type = *type;
  }
  reader.number("stepTokens", options.step_tokens);
  reader.number("queueLimit", options.queue_limit);
  TRY(reader.status());
  return options;
}

Result<Request> read_request(Napi::Object object) {
  Request request;
  Reader reader(object);
  Napi::Value prompt;
  reader.choice("kind", k_kinds, request.kind);
  if (reader.find("text", prompt)) {
    request.is_text = true;
    reader.text("text", request.text);
  } else {
    reader.tokens("tokens", request.tokens);
  }
  reader.boolean("addSpecial", request.add_special);
  reader.boolean("parseSpecial", request.parse_special);
  reader.number("maxTokens", request.max_tokens);
  reader.texts("stop", request.stop);
  reader.tokens("stopTokens", request.stop_tokens);
  reader.boolean("ignoreEos", request.ignore_eos);
  reader.boolean("wantsPieces", request.wants_pieces);
  reader.choice("priority", k_priorities, request.priority);
  reader.number("deadlineMs", request.deadline_ms);
  reader.text("cacheSalt", request.cache_salt);
  reader.number("scoreTop", request.score_top);
  read_sampling(reader, request.sampling);
  TRY(reader.status());
  return request;
}

Result<DType> read_cache_type(Napi::Value value) {
  constexpr std::pair<const char*, DType> k_types[] = {
      {"f32", DType::f32}, {"f16", DType::f16}, {"bf16", DType::bf16}, {"q8_0", DType::q8_0}};
  const std::string chosen = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
  for (const auto& [name, dtype] : k_types)
    if (chosen == name) return dtype;
  return error(ErrorCode::unsupported,
               "Expected \"cacheType\" to be one of f32, f16, q8_0 but received \"%s\"",
               chosen.c_str());
}

Result<std::vector<int32_t>> read_tokens(const char* name, Napi::Value value) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array)
    return expected(name, "an Int32Array");
  const auto array = value.As<Napi::Int32Array>();
  const int32_t* first = array.Data();
  if (array.ElementLength() == 0 || first == nullptr) return std::vector<int32_t>();
  return std::vector<int32_t>(first, first + array.ElementLength());
}

Result<std::string> read_bytes(const char* name, Napi::Value value) {
  if (value.IsString()) return value.As<Napi::String>().Utf8Value();
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
    return expected(name, "a string or a Uint8Array");
  const auto array = value.As<Napi::Uint8Array>();
  if (array.ElementLength() == 0 || array.Data() == nullptr) return std::string();
  return std::string(reinterpret_cast<const char*>(array.Data()), array.ElementLength());
}

}  // namespace millrace
