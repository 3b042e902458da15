// Probe of model files: what the reader makes of bytes and paths, and of files that fail.

#include "model/gguf.h"
#include "model/model-file.h"
#include "probe.h"

namespace millrace {
namespace {

constexpr size_t k_values_shown = 64;

Napi::Value to_buffer(Napi::Env env, std::string_view text) {
  return Napi::Buffer<char>::Copy(env, text.data(), text.size());
}

template <class T>
Napi::Value to_array_of(Napi::Env env, const std::vector<T>& values) {
  auto list = Napi::Array::New(env);
  for (size_t i = 0; i < std::min(values.size(), k_values_shown); ++i)
    list.Set(static_cast<uint32_t>(i), Napi::Number::New(env, static_cast<double>(values[i])));
  return list;
}

Napi::Value strings_to_array(Napi::Env env, const StringArray& values) {
  auto list = Napi::Array::New(env);
  for (size_t i = 0; i < std::min(values.size(), k_values_shown); ++i)
    list.Set(static_cast<uint32_t>(i), to_buffer(env, values[i]));
  return list;
}

struct ValueWriter {
  Napi::Env env;
  Napi::Value operator()(int64_t value) const { return Napi::BigInt::New(env, value); }
  Napi::Value operator()(uint64_t value) const { return Napi::BigInt::New(env, value); }
  Napi::Value operator()(double value) const { return Napi::Number::New(env, value); }
  Napi::Value operator()(bool value) const { return Napi::Boolean::New(env, value); }
  Napi::Value operator()(std::string_view value) const { return to_buffer(env, value); }
  Napi::Value operator()(const NumberArray& value) const {
    return Napi::Number::New(env, static_cast<double>(value.count));
  }
  Napi::Value operator()(const StringArray& value) const {
    return Napi::Number::New(env, static_cast<double>(value.size()));
  }
};

// { entries: [key, type, value][], tensors: { name, type, shape, offset, size }[] }; arrays are
// given by their length, offsets count from `base`.
Napi::Object describe(Napi::Env env, const Metadata& metadata,
                      const std::vector<TensorEntry>& tensors, const std::byte* base) {
  auto entries = Napi::Array::New(env);
  for (const auto& [key, value] : metadata.entries()) {
    auto entry = Napi::Array::New(env);
    entry.Set(0u, Napi::String::New(env, std::string(key)));
    entry.Set(1u, Napi::String::New(env, name_of(value.type)));
    entry.Set(2u, std::visit(ValueWriter{env}, value.data));
    entries.Set(entries.Length(), entry);
  }
  auto list = Napi::Array::New(env);
  for (const TensorEntry& tensor : tensors) {
    auto row = Napi::Object::New(env);
    row.Set("name", tensor.name);
    row.Set("type", info_of(tensor.dtype).name);
    row.Set("shape", to_array_of(env, tensor.shape));
    row.Set("size", static_cast<double>(tensor.size_bytes));
    if (tensor.data && base) row.Set("offset", static_cast<double>(tensor.data - base));
    list.Set(list.Length(), row);
  }
  auto out = Napi::Object::New(env);
  out.Set("entries", entries);
  out.Set("tensors", list);
  return out;
}

// parseGguf(bytes, vocabularyOnly): description
Napi::Value parse(const Napi::CallbackInfo& info) {
  const auto array = info[0].As<Napi::Uint8Array>();
  const Bytes bytes{reinterpret_cast<const std::byte*>(array.Data()), array.ElementLength()};
  const auto part = parse_gguf(bytes, info[1].ToBoolean());
  if (!part.ok()) return throw_status(info.Env(), part.status());
  return describe(info.Env(), part->metadata, part->tensors, bytes.data());
}

// openModelFile(path, mapped, vocabularyOnly): description and `checksum`, the sum of all data
// bytes
Napi::Value open(const Napi::CallbackInfo& info) {
  const auto file = open_model_file(info[0].ToString(), info[1].ToBoolean(), info[2].ToBoolean());
  if (!file.ok()) return throw_status(info.Env(), file.status());
  double checksum = 0;
  for (const TensorEntry& tensor : (*file)->tensors()) {
    if ((*file)->find(tensor.name) != &tensor)
      return throw_status(info.Env(), error(ErrorCode::internal, "find() and tensors() disagree"));
    for (size_t i = 0; tensor.data && i < tensor.size_bytes; ++i)
      checksum += std::to_integer<int>(tensor.data[i]);
  }
  auto out = describe(info.Env(), (*file)->metadata(), (*file)->tensors(), nullptr);
  out.Set("checksum", checksum);
  out.Set("sizeBytes", static_cast<double>((*file)->size_bytes()));
  return out;
}

// openUntil(path, mapped, looks): opens the file and says at which look at `cancelled`, from 0 on,
// to stop; { code, message, progress }.
Napi::Value open_until(const Napi::CallbackInfo& info) {
  int looks = info[2].ToNumber();
  std::vector<float> progress;
  OpenHooks hooks;
  hooks.progress = [&](double fraction) { progress.push_back(static_cast<float>(fraction)); };
  hooks.cancelled = [&] { return looks-- == 0; };
  const auto file = open_model_file(info[0].ToString(), info[1].ToBoolean(), false, hooks);
  auto out = Napi::Object::New(info.Env());
  out.Set("code", ::millrace::name_of(file.status().code()));
  out.Set("message", file.status().message());
  out.Set("progress", to_array(info.Env(), std::span<const float>(progress)));
  return out;
}

template <class T, class Convert>
Napi::Value value_or_throw(Napi::Env env, const Result<T>& result, Convert&& convert) {
  if (!result.ok()) return throw_status(env, result.status());
  return convert(*result);
}

// getMetadata(bytes, getter, key): what that getter of Metadata returns
Napi::Value get_metadata(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto array = info[0].As<Napi::Uint8Array>();
  const std::string getter = info[1].ToString(), key = info[2].ToString();
  const auto part =
      parse_gguf({reinterpret_cast<const std::byte*>(array.Data()), array.ElementLength()}, true);
  if (!part.ok()) return throw_status(env, part.status());
  const Metadata& m = part->metadata;
  const auto number = [&](auto v) { return Napi::Number::New(env, static_cast<double>(v)); };
  const auto numbers = [&](const auto& v) { return to_array_of(env, v); };
  if (getter == "integer") return value_or_throw(env, m.integer(key), number);
  if (getter == "number") return value_or_throw(env, m.number(key), number);
  if (getter == "boolean")
    return value_or_throw(env, m.boolean(key), [&](bool v) { return Napi::Boolean::New(env, v); });
  if (getter == "string")
    return value_or_throw(env, m.string(key), [&](auto v) { return to_buffer(env, v); });
  if (getter == "integers") return value_or_throw(env, m.integers(key), numbers);
  if (getter == "numbers") return value_or_throw(env, m.numbers(key), numbers);
  if (getter == "strings")
    return value_or_throw(env, m.strings(key),
                          [&](const StringArray& v) { return strings_to_array(env, v); });
  if (getter == "integerOr") return number(m.integer_or(key, -7));
  if (getter == "numberOr") return number(m.number_or(key, -7.5));
  if (getter == "booleanOr") return Napi::Boolean::New(env, m.boolean_or(key, true));
  return Napi::String::New(env, m.string_or(key, "fallback"));
}

// failFilesWith(fault): none open map read shortRead memory
Napi::Value fail_files(const Napi::CallbackInfo& info) {
  constexpr std::pair<const char*, FileFault> k_faults[] = {{"none", FileFault::none},
                                                            {"open", FileFault::open},
                                                            {"map", FileFault::map},
                                                            {"read", FileFault::read},
                                                            {"shortRead", FileFault::short_read},
                                                            {"memory", FileFault::memory}};
  const std::string wanted = info[0].ToString();
  for (const auto& [name, fault] : k_faults)
    if (wanted == name) fail_files_with(fault);
  return info.Env().Undefined();
}

}  // namespace

void register_gguf(Napi::Env env, Napi::Object exports) {
  exports.Set("parseGguf", Napi::Function::New(env, parse));
  exports.Set("openModelFile", Napi::Function::New(env, open));
  exports.Set("openUntil", Napi::Function::New(env, open_until));
  exports.Set("getMetadata", Napi::Function::New(env, get_metadata));
  exports.Set("failFilesWith", Napi::Function::New(env, fail_files));
}

}  // namespace millrace
