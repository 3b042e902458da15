// Probe of the text floor: tokenizers made from plain data or a file, text streams, patterns.

#include <ctime>
#include <map>

#include "base/utf8.h"
#include "model/vocabulary.h"
#include "probe.h"
#include "text/automaton.h"
#include "text/pre-tokenizer.h"
#include "text/text-stream.h"
#include "text/tokenizer.h"

namespace millrace {
namespace {

using TokenizerHandle = std::shared_ptr<const Tokenizer>;

std::string_view view_of(const Napi::Value& value) {
  const auto bytes = value.As<Napi::Uint8Array>();
  return {reinterpret_cast<const char*>(bytes.Data()), bytes.ByteLength()};
}

Napi::Value to_bytes(Napi::Env env, std::string_view text) {
  return to_array(env, std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

std::vector<int32_t> ids_of(const Napi::Value& value) {
  const auto ids = value.As<Napi::Int32Array>();
  return {ids.Data(), ids.Data() + ids.ElementLength()};
}

// Strings laid end to end: {bytes, ends}.
std::vector<std::string_view> strings_of(const Napi::Value& value) {
  std::vector<std::string_view> out;
  if (value.IsUndefined()) return out;
  const auto object = value.As<Napi::Object>();
  const std::string_view bytes = view_of(object.Get("bytes"));
  size_t begin = 0;
  for (const int32_t end : ids_of(object.Get("ends"))) {
    out.push_back(bytes.substr(begin, static_cast<size_t>(end) - begin));
    begin = static_cast<size_t>(end);
  }
  return out;
}

void read_id(const Napi::Object& object, const char* name, std::optional<int32_t>& out) {
  const Napi::Value value = object.Get(name);
  if (value.IsNumber()) out = value.ToNumber().Int32Value();
}

void read_flag(const Napi::Object& object, const char* name, std::optional<bool>& out) {
  const Napi::Value value = object.Get(name);
  if (value.IsBoolean()) out = value.ToBoolean().Value();
}

std::string text_or_empty(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  return value.IsString() ? value.ToString().Utf8Value() : std::string();
}

Vocabulary vocabulary_of(const Napi::Object& object) {
  Vocabulary out;
  const std::string algorithm = object.Get("algorithm").ToString();
  out.algorithm = algorithm == "spm"   ? TokenAlgorithm::spm
                  : algorithm == "bpe" ? TokenAlgorithm::bpe
                                       : TokenAlgorithm::wordpiece;
  out.pre = text_or_empty(object, "pre");
  out.model_name = text_or_empty(object, "modelName");
  out.architecture = text_or_empty(object, "architecture");
  out.texts = strings_of(object.Get("texts"));
  out.merges = strings_of(object.Get("merges"));
  if (const Napi::Value scores = object.Get("scores"); !scores.IsUndefined()) {
    const auto array = scores.As<Napi::Float32Array>();
    out.scores.assign(array.Data(), array.Data() + array.ElementLength());
  }
  if (const Napi::Value kinds = object.Get("kinds"); !kinds.IsUndefined())
    for (const int32_t kind : ids_of(kinds)) out.kinds.push_back(static_cast<TokenKind>(kind));
  read_id(object, "bos", out.bos);
  read_id(object, "eos", out.eos);
  read_id(object, "eot", out.eot);
  read_id(object, "unk", out.unk);
  read_id(object, "sep", out.sep);
  read_flag(object, "addBos", out.add_bos);
  read_flag(object, "addEos", out.add_eos);
  read_flag(object, "addSpacePrefix", out.add_space_prefix);
  read_flag(object, "lowercase", out.lowercase);
  read_flag(object, "stripAccents", out.strip_accents);
  return out;
}

const Tokenizer& tokenizer_of(const Napi::CallbackInfo& info) {
  return **info[0].As<Napi::External<TokenizerHandle>>().Data();
}

double thread_ms() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

Napi::Value describe(const Napi::CallbackInfo& info,
                     const Result<std::shared_ptr<const Tokenizer>>& tokenizer, double begin) {
  if (!tokenizer.ok()) return throw_status(info.Env(), tokenizer.status());
  auto handle =
      Napi::External<TokenizerHandle>::New(info.Env(), new TokenizerHandle(*tokenizer),
                                           [](Napi::Env, TokenizerHandle* owned) { delete owned; });
  auto out = Napi::Object::New(info.Env());
  out.Set("handle", handle);
  out.Set("ms", Napi::Number::New(info.Env(), thread_ms() - begin));
  out.Set("size", Napi::Number::New(info.Env(), (*tokenizer)->size()));
  out.Set("bos", Napi::Number::New(info.Env(), (*tokenizer)->bos()));
  out.Set("ends", to_array(info.Env(), (*tokenizer)->eos_tokens()));
  return out;
}

Napi::Value tokenizer_create(const Napi::CallbackInfo& info) {
  const double begin = thread_ms();
  return describe(info, Tokenizer::create(vocabulary_of(info[0].As<Napi::Object>())), begin);
}

// The tokenizer of a GGUF file, as a model gets it.
Result<std::shared_ptr<const Tokenizer>> open_tokenizer(const std::string& path) {
  const auto file = open_model_file(path, true, true);
  TRY(file);
  const auto vocabulary = read_vocabulary((*file)->metadata());
  TRY(vocabulary);
  return Tokenizer::create(*vocabulary);
}

Napi::Value tokenizer_open(const Napi::CallbackInfo& info) {
  const double begin = thread_ms();
  return describe(info, open_tokenizer(info[0].ToString()), begin);
}

Napi::Value tokenizer_encode(const Napi::CallbackInfo& info) {
  const EncodeOptions options{info[2].ToBoolean().Value(), info[3].ToBoolean().Value()};
  const auto ids = tokenizer_of(info).encode(view_of(info[1]), options);
  if (!ids.ok()) return throw_status(info.Env(), ids.status());
  return to_array(info.Env(), *ids);
}

// Thread CPU time of encoding, in ms, and the number of tokens.
Napi::Value tokenizer_time(const Napi::CallbackInfo& info) {
  const Tokenizer& tokenizer = tokenizer_of(info);
  const std::string_view text = view_of(info[1]);
  const double begin = thread_ms();
  const auto ids = tokenizer.encode(text, {false, false});
  const double spent = thread_ms() - begin;
  if (!ids.ok()) return throw_status(info.Env(), ids.status());
  auto out = Napi::Object::New(info.Env());
  out.Set("ms", Napi::Number::New(info.Env(), spent));
  out.Set("tokens", Napi::Number::New(info.Env(), static_cast<double>((*ids).size())));
  return out;
}

Napi::Value tokenizer_decode(const Napi::CallbackInfo& info) {
  const DecodeOptions options{info[2].ToBoolean().Value(), info[3].ToBoolean().Value()};
  return to_bytes(info.Env(), tokenizer_of(info).decode(ids_of(info[1]), options));
}

Napi::Value tokenizer_piece(const Napi::CallbackInfo& info) {
  return to_bytes(info.Env(), tokenizer_of(info).piece(info[1].ToNumber().Int32Value()));
}

Napi::Object piece_object(Napi::Env env, const TextPiece& piece) {
  auto out = Napi::Object::New(env);
  out.Set("bytes", to_bytes(env, piece.text));
  out.Set("units", Napi::Number::New(env, piece.utf16_units));
  out.Set("stopped", Napi::Boolean::New(env, piece.stopped));
  return out;
}

// Pushes all tokens, then finishes: one piece per token and one more.
Napi::Value stream_text(const Napi::CallbackInfo& info) {
  std::vector<std::string> stops;
  for (const std::string_view stop : strings_of(info[2])) stops.emplace_back(stop);
  std::shared_ptr<const StopStrings> automaton;
  if (!stops.empty()) {
    auto made = StopStrings::create(stops);
    if (!made.ok()) return throw_status(info.Env(), made.status());
    automaton = *made;
  }
  TextStream stream(tokenizer_of(info), automaton,
                    {info[3].ToBoolean().Value(), info[4].ToBoolean().Value()});
  auto out = Napi::Array::New(info.Env());
  uint32_t at = 0;
  for (const int32_t id : ids_of(info[1])) out.Set(at++, piece_object(info.Env(), stream.push(id)));
  out.Set(at, piece_object(info.Env(), stream.finish()));
  return out;
}

Napi::Value pre_tokenizer_names(const Napi::CallbackInfo& info) {
  auto out = Napi::Array::New(info.Env());
  uint32_t at = 0;
  for (const PreTokenizerRow& row : pre_tokenizer_rows())
    for (const char* name : row.names) out.Set(at++, Napi::String::New(info.Env(), name));
  return out;
}

Napi::Value to_ends(Napi::Env env, const std::vector<uint32_t>& ends) {
  return to_array(env, std::vector<int32_t>(ends.begin(), ends.end()));
}

// Ends of the words that a named pre-tokenizer makes of a text, and the thread's ms.
Napi::Value pre_tokenizer_split(const Napi::CallbackInfo& info) {
  const auto row = find_pre_tokenizer(info[0].ToString().Utf8Value());
  if (!row.ok()) return throw_status(info.Env(), row.status());
  static std::map<const PreTokenizerRow*, Result<PreTokenizer>> made;  // compiling takes longer
  if (!made.contains(*row)) made.emplace(*row, PreTokenizer::create(**row));
  const Result<PreTokenizer>& pre = made.at(*row);
  if (!pre.ok()) return throw_status(info.Env(), pre.status());
  std::vector<uint32_t> ends;
  const double begin = thread_ms();
  (*pre).split(view_of(info[1]), ends);
  auto out = Napi::Object::New(info.Env());
  out.Set("ms", Napi::Number::New(info.Env(), thread_ms() - begin));
  out.Set("ends", to_ends(info.Env(), ends));
  return out;
}

// The passes of a named row: [{pattern, kind}].
Napi::Value pre_tokenizer_passes(const Napi::CallbackInfo& info) {
  const auto row = find_pre_tokenizer(info[0].ToString().Utf8Value());
  if (!row.ok()) return throw_status(info.Env(), row.status());
  auto out = Napi::Array::New(info.Env());
  for (const PrePass& pass : (*row)->passes) {
    auto entry = Napi::Object::New(info.Env());
    entry.Set("pattern", Napi::String::New(info.Env(), pass.pattern));
    entry.Set("kind", Napi::Number::New(info.Env(), static_cast<int>(pass.kind)));
    out.Set(out.Length(), entry);
  }
  return out;
}

// Begins and ends of all matches of a pattern, left to right.
Napi::Value pattern_matches(const Napi::CallbackInfo& info) {
  static std::map<std::string, Result<Automaton>> made;
  const std::string pattern = info[0].ToString();
  if (!made.contains(pattern)) made.emplace(pattern, Automaton::compile(pattern));
  const Result<Automaton>& automaton = made.at(pattern);
  if (!automaton.ok()) return throw_status(info.Env(), automaton.status());
  const std::string_view text = view_of(info[1]);
  std::vector<uint32_t> out;
  Automaton::Scan scan;
  for (size_t at = 0; at < text.size();) {
    const size_t end = (*automaton).match(text, at, scan);
    if (end == Automaton::k_no_match) {
      at += decode_lenient(text, at).length;
      continue;
    }
    out.push_back(static_cast<uint32_t>(at));
    out.push_back(static_cast<uint32_t>(end));
    at = end;
  }
  return to_ends(info.Env(), out);
}

// [category, is white space, lower case, decomposition] of a code point.
Napi::Value codepoint_properties(const Napi::CallbackInfo& info) {
  const uint32_t point = info[0].ToNumber().Uint32Value();
  const int32_t out[] = {static_cast<int32_t>(category_of(point)), is_whitespace(point),
                         static_cast<int32_t>(to_lower(point)),
                         static_cast<int32_t>(decompose(point))};
  return to_array(info.Env(), out);
}

Napi::Value valid_utf8(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), is_valid_utf8(view_of(info[0])));
}

}  // namespace

void register_text(Napi::Env env, Napi::Object exports) {
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function));
  };
  add("tokenizerCreate", tokenizer_create);
  add("tokenizerOpen", tokenizer_open);
  add("tokenizerEncode", tokenizer_encode);
  add("tokenizerTime", tokenizer_time);
  add("tokenizerDecode", tokenizer_decode);
  add("tokenizerPiece", tokenizer_piece);
  add("streamText", stream_text);
  add("preTokenizerNames", pre_tokenizer_names);
  add("preTokenizerSplit", pre_tokenizer_split);
  add("preTokenizerPasses", pre_tokenizer_passes);
  add("patternMatches", pattern_matches);
  add("codepointProperties", codepoint_properties);
  add("validUtf8", valid_utf8);
}

}  // namespace millrace
