#include "tensor/dtype.h"

#include <type_traits>

namespace millrace {
namespace {

template <class Block>
void decode_blocks(const void* row, int64_t n, float* out) {
  const auto* blocks = static_cast<const Block*>(row);
  for (int64_t i = 0; i < n / Block::k_values; ++i) decode(blocks[i], out + i * Block::k_values);
}

template <class Block>
bool encode_blocks(const float* values, int64_t n, void* row) {
  if constexpr (std::is_same_v<Block, I8> || std::is_same_v<Block, I32>) {
    return false;
  } else {
    auto* blocks = static_cast<Block*>(row);
    for (int64_t i = 0; i < n / Block::k_values; ++i)
      encode(values + i * Block::k_values, blocks[i]);
    return true;
  }
}

}  // namespace

Result<DType> dtype_from_gguf(uint32_t id) {
  for (const DTypeInfo& info : k_dtypes)
    if (info.gguf_id == id) return info.dtype;
  return error(ErrorCode::unsupported, "element type %u is not supported", id);
}

void decode_row(DType dtype, const void* row, int64_t n, float* out) {
  switch (dtype) {
#define ROW(id, Block, name, gguf_id, values, bytes) \
  case DType::id:                                    \
    return decode_blocks<Block>(row, n, out);
    MILLRACE_FOR_EACH_DTYPE(ROW)
#undef ROW
  }
}

bool encode_row(DType dtype, const float* values, int64_t n, void* row) {
  switch (dtype) {
#define ROW(id, Block, name, gguf_id, values_, bytes) \
  case DType::id:                                     \
    return encode_blocks<Block>(values, n, row);
    MILLRACE_FOR_EACH_DTYPE(ROW)
#undef ROW
  }
  return false;
}

}  // namespace millrace
