// Probe of the tensor floor: element types over typed arrays.

#include <cstring>
#include <optional>

#include "probe.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace millrace {
namespace {

std::optional<DType> dtype_of(const std::string& name) {
  for (const DTypeInfo& info : k_dtypes)
    if (name == info.name) return info.dtype;
  return std::nullopt;
}

std::span<const uint8_t> bytes_of(const Napi::Value& value) {
  const auto array = value.As<Napi::Uint8Array>();
  return {array.Data(), array.ElementLength()};
}

int64_t values_in(DType dtype, size_t n_bytes) {
  const DTypeInfo& info = info_of(dtype);
  return static_cast<int64_t>(n_bytes) / info.block_bytes * info.block_values;
}

// dtypes(): { name, ggufId, blockValues, blockBytes }[]
Napi::Value dtypes(const Napi::CallbackInfo& info) {
  auto list = Napi::Array::New(info.Env());
  for (const DTypeInfo& dtype : k_dtypes) {
    auto row = Napi::Object::New(info.Env());
    row.Set("name", dtype.name);
    row.Set("ggufId", dtype.gguf_id);
    row.Set("blockValues", dtype.block_values);
    row.Set("blockBytes", dtype.block_bytes);
    list.Set(list.Length(), row);
  }
  return list;
}

// dtypeFromGguf(id): string
Napi::Value dtype_name(const Napi::CallbackInfo& info) {
  const auto dtype = dtype_from_gguf(info[0].ToNumber().Uint32Value());
  if (!dtype.ok()) return throw_status(info.Env(), dtype.status());
  return Napi::String::New(info.Env(), info_of(*dtype).name);
}

// decodeRow(type, bytes): Float32Array
Napi::Value decode_bytes(const Napi::CallbackInfo& info) {
  const DType dtype = *dtype_of(info[0].ToString());
  const auto bytes = bytes_of(info[1]);
  std::vector<float> out(static_cast<size_t>(values_in(dtype, bytes.size())));
  decode_row(dtype, bytes.data(), static_cast<int64_t>(out.size()), out.data());
  return to_array(info.Env(), std::span<const float>(out));
}

// encodeRow(type, values): Uint8Array, or undefined where nothing is rounded to the type
Napi::Value encode_values(const Napi::CallbackInfo& info) {
  const DType dtype = *dtype_of(info[0].ToString());
  const auto values = info[1].As<Napi::Float32Array>();
  const auto n = static_cast<int64_t>(values.ElementLength());
  std::vector<uint8_t> out(static_cast<size_t>(row_bytes(dtype, n)));
  if (!encode_row(dtype, values.Data(), n, out.data())) return info.Env().Undefined();
  return to_array(info.Env(), std::span<const uint8_t>(out));
}

// The parts of every value of a row, one entry per value.
struct Parts {
  std::vector<int32_t> level, sub_scale, sub_min;
  std::vector<float> scale, offset, d, dmin;
  std::vector<uint8_t> rejoined;
};

template <class Block>
void split_blocks(std::span<const uint8_t> bytes, Parts& parts) {
  if constexpr (Block::k_values > 1) {
    for (size_t at = 0; at < bytes.size(); at += sizeof(Block)) {
      Block block, again;
      std::memcpy(&block, bytes.data() + at, sizeof block);
      BlockCodes codes{};
      split(block, codes);
      join(codes, again);
      const auto* raw = reinterpret_cast<const uint8_t*>(&again);
      parts.rejoined.insert(parts.rejoined.end(), raw, raw + sizeof again);
      for (int i = 0; i < Block::k_values; ++i) {
        const int s = i / Block::k_sub;
        parts.level.push_back(Block::level(codes.code[i]));
        parts.sub_scale.push_back(codes.sub_scale[s]);
        parts.sub_min.push_back(codes.sub_min[s]);
        parts.scale.push_back(codes.scale[s]);
        parts.offset.push_back(codes.offset[s]);
        parts.d.push_back(codes.d);
        parts.dmin.push_back(codes.dmin);
      }
    }
  }
}

// splitRow(type, bytes): arrays of the parts, one entry per value, and the bytes put together again
Napi::Value split_bytes(const Napi::CallbackInfo& info) {
  const auto bytes = bytes_of(info[1]);
  Parts parts;
  switch (*dtype_of(info[0].ToString())) {
#define ROW(id, Block, name, gguf_id, values, n_bytes) \
  case DType::id:                                      \
    split_blocks<Block>(bytes, parts);                 \
    break;
    MILLRACE_FOR_EACH_DTYPE(ROW)
#undef ROW
  }
  const Napi::Env env = info.Env();
  auto out = Napi::Object::New(env);
  const auto floats = [&](const std::vector<float>& v) {
    return to_array(env, std::span<const float>(v));
  };
  const auto integers = [&](const std::vector<int32_t>& v) {
    return to_array(env, std::span<const int32_t>(v));
  };
  out.Set("level", integers(parts.level));
  out.Set("subScale", integers(parts.sub_scale));
  out.Set("subMin", integers(parts.sub_min));
  out.Set("scale", floats(parts.scale));
  out.Set("offset", floats(parts.offset));
  out.Set("d", floats(parts.d));
  out.Set("dmin", floats(parts.dmin));
  out.Set("rejoined", to_array(env, std::span<const uint8_t>(parts.rejoined)));
  return out;
}

// tensorRowOffset(type, rows, cols, row): bytes from the data to the row
Napi::Value tensor_row_offset(const Napi::CallbackInfo& info) {
  static char memory[1];
  const DType dtype = *dtype_of(info[0].ToString());
  const Tensor tensor = make_tensor(dtype, info[1].ToNumber().Int64Value(),
                                    info[2].ToNumber().Int64Value(), static_cast<void*>(memory));
  const auto* row = static_cast<const char*>(tensor.row(info[3].ToNumber().Int64Value()));
  const auto* same =
      static_cast<const char*>(as_const(tensor).row(info[3].ToNumber().Int64Value()));
  return Napi::Number::New(info.Env(), row == same ? static_cast<double>(row - memory) : -1.0);
}

}  // namespace

void register_tensor(Napi::Env env, Napi::Object exports) {
  exports.Set("dtypes", Napi::Function::New(env, dtypes));
  exports.Set("dtypeFromGguf", Napi::Function::New(env, dtype_name));
  exports.Set("decodeRow", Napi::Function::New(env, decode_bytes));
  exports.Set("encodeRow", Napi::Function::New(env, encode_values));
  exports.Set("splitRow", Napi::Function::New(env, split_bytes));
  exports.Set("tensorRowOffset", Napi::Function::New(env, tensor_row_offset));
}

}  // namespace millrace
