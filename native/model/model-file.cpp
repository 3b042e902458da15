#include "model/model-file.h"

#include <cinttypes>
#include <limits>

#include "model/gguf.h"

namespace millrace {
namespace {

struct ValueTypeInfo {
  const char* name;
  size_t size;
};
constexpr ValueTypeInfo k_value_types[] = {
    {"u8", 1},   {"i8", 1},     {"u16", 2},   {"i16", 2}, {"u32", 4}, {"i32", 4}, {"f32", 4},
    {"bool", 1}, {"string", 0}, {"array", 0}, {"u64", 8}, {"i64", 8}, {"f64", 8},
};

// What a value is, for messages: "u32", "array of string".
std::string type_text(const Value& value) {
  if (const auto* array = std::get_if<NumberArray>(&value.data))
    return std::string("array of ") + name_of(array->type);
  if (std::holds_alternative<StringArray>(value.data)) return "array of string";
  return name_of(value.type);
}

Status wrong_type(std::string_view key, const char* expected, const Value& value) {
  return error(ErrorCode::bad_file, "Expected metadata key \"%s\" to hold %s but it holds %s",
               std::string(key).c_str(), expected, type_text(value).c_str());
}

Status no_key(std::string_view key) {
  return error(ErrorCode::bad_file, "the model file has no metadata key \"%s\"",
               std::string(key).c_str());
}

template <class Out, class Stored>
void widen(const NumberArray& array, std::vector<Out>& out) {
  for (size_t i = 0; i < array.count; ++i)
    out.push_back(static_cast<Out>(load<Stored>(array.data + i * sizeof(Stored))));
}

template <class Out>
std::vector<Out> widen(const NumberArray& array) {
  std::vector<Out> out;
  out.reserve(array.count);
  switch (array.type) {
    case ValueType::u8:
      widen<Out, uint8_t>(array, out);
      break;
    case ValueType::i8:
      widen<Out, int8_t>(array, out);
      break;
    case ValueType::u16:
      widen<Out, uint16_t>(array, out);
      break;
    case ValueType::i16:
      widen<Out, int16_t>(array, out);
      break;
    case ValueType::u32:
      widen<Out, uint32_t>(array, out);
      break;
    case ValueType::i32:
      widen<Out, int32_t>(array, out);
      break;
    case ValueType::u64:
      widen<Out, uint64_t>(array, out);
      break;
    case ValueType::i64:
      widen<Out, int64_t>(array, out);
      break;
    case ValueType::f32:
      widen<Out, float>(array, out);
      break;
    case ValueType::f64:
      widen<Out, double>(array, out);
      break;
    case ValueType::boolean:
      widen<Out, uint8_t>(array, out);
      break;
    default:
      break;
  }
  return out;
}

bool is_float(ValueType type) { return type == ValueType::f32 || type == ValueType::f64; }

// Formats that people hand over by mistake, by how their files begin.
struct Stranger {
  std::string_view begins;
  const char* what;
};
constexpr Stranger k_strangers[] = {
    {"tjgg", "an obsolete ggjt file: convert the model to GGUF"},
    {"lmgg", "an obsolete ggml file: convert the model to GGUF"},
    {"fmgg", "an obsolete ggmf file: convert the model to GGUF"},
    {"algg", "a ggla adapter file"},
    {"FUGG", "a byte-swapped GGUF file"},
    {"version https://git-lfs",
     "a git-LFS pointer: the model itself was not downloaded "
     "(git lfs pull)"},
    {"\x1f\x8b", "a gzip archive: unpack it first"},
    {"\x28\xb5\x2f\xfd", "a zstd archive: unpack it first"},
    {"PK\x03\x04", "a zip archive, as PyTorch writes: convert the model to GGUF"},
    {"<!DOCTYPE", "a web page: the download failed"},
    {"<!doctype", "a web page: the download failed"},
    {"<html", "a web page: the download failed"},
};

bool looks_like_safetensors(Bytes bytes) {
  if (bytes.size() < 10) return false;
  const auto header_bytes = load<uint64_t>(bytes.data());
  return header_bytes >= 2 && header_bytes <= bytes.size() - 8 &&
         as_text(bytes.subspan(8)).starts_with("{");
}

Status not_a_model(const std::string& path, Bytes bytes) {
  const std::string_view text = as_text(bytes);
  for (const Stranger& stranger : k_strangers)
    if (text.starts_with(stranger.begins))
      return error(ErrorCode::bad_file, "Expected \"%s\" to be a GGUF file but it is %s",
                   path.c_str(), stranger.what);
  if (looks_like_safetensors(bytes))
    return error(ErrorCode::unsupported,
                 "Expected \"%s\" to be a GGUF file but it is a safetensors file", path.c_str());
  return error(ErrorCode::bad_file,
               "Expected \"%s\" to be a GGUF file but it does not start with GGUF", path.c_str());
}

}  // namespace

const char* name_of(ValueType type) { return k_value_types[static_cast<size_t>(type)].name; }
size_t size_of(ValueType type) { return k_value_types[static_cast<size_t>(type)].size; }

bool Metadata::add(std::string_view key, Value value) {
  if (!index_.emplace(key, entries_.size()).second) return false;
  entries_.push_back({key, std::move(value)});
  return true;
}

const Value* Metadata::find(std::string_view key) const {
  const auto found = index_.find(key);
  return found == index_.end() ? nullptr : &entries_[found->second].value;
}

Result<int64_t> Metadata::integer(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return no_key(key);
  if (const auto* number = std::get_if<int64_t>(&value->data)) return *number;
  if (const auto* number = std::get_if<uint64_t>(&value->data)) {
    if (*number <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      return static_cast<int64_t>(*number);
    return error(ErrorCode::bad_file,
                 "Expected metadata key \"%s\" to be below 2^63 but found %" PRIu64,
                 std::string(key).c_str(), *number);
  }
  return wrong_type(key, "an integer", *value);
}

Result<double> Metadata::number(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return no_key(key);
  if (const auto* number = std::get_if<double>(&value->data)) return *number;
  if (const auto* number = std::get_if<int64_t>(&value->data)) return static_cast<double>(*number);
  if (const auto* number = std::get_if<uint64_t>(&value->data)) return static_cast<double>(*number);
  return wrong_type(key, "a number", *value);
}

Result<bool> Metadata::boolean(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return no_key(key);
  if (const auto* flag = std::get_if<bool>(&value->data)) return *flag;
  return wrong_type(key, "a boolean", *value);
}

Result<std::string_view> Metadata::string(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return no_key(key);
  if (const auto* text = std::get_if<std::string_view>(&value->data)) return *text;
  return wrong_type(key, "a string", *value);
}

Result<std::vector<int64_t>> Metadata::integers(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return no_key(key);
  const auto* array = std::get_if<NumberArray>(&value->data);
  if (!array || is_float(array->type)) return wrong_type(key, "an array of integers", *value);
  return widen<int64_t>(*array);
}

Result<std::vector<float>> Metadata::numbers(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return no_key(key);
  const auto* array = std::get_if<NumberArray>(&value->data);
  if (!array) return wrong_type(key, "an array of numbers", *value);
  return widen<float>(*array);
}

Result<StringArray> Metadata::strings(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return no_key(key);
  if (const auto* texts = std::get_if<StringArray>(&value->data)) return *texts;
  return wrong_type(key, "an array of strings", *value);
}

int64_t Metadata::integer_or(std::string_view key, int64_t fallback) const {
  const auto value = integer(key);
  return value.ok() ? *value : fallback;
}

double Metadata::number_or(std::string_view key, double fallback) const {
  const auto value = number(key);
  return value.ok() ? *value : fallback;
}

bool Metadata::boolean_or(std::string_view key, bool fallback) const {
  const auto value = boolean(key);
  return value.ok() ? *value : fallback;
}

std::string Metadata::string_or(std::string_view key, std::string_view fallback) const {
  const auto value = string(key);
  return std::string(value.ok() ? *value : fallback);
}

Result<std::shared_ptr<const ModelFile>> open_model_file(const std::string& path, bool use_mmap,
                                                         bool vocabulary_only,
                                                         const OpenHooks& hooks) {
  auto file = FileMap::open(path, use_mmap, hooks.part(0, 1.0 / files_to_read(path)));
  TRY(file);
  if (!as_text((*file)->bytes()).starts_with("GGUF")) return not_a_model(path, (*file)->bytes());
  return open_gguf(path, std::move(*file), vocabulary_only, hooks);
}

}  // namespace millrace
