#pragma once
// The element types: one table, and the includes of their headers. A new type is a header in quant/
// and a row here; everything that must know all types asks for the rows by MILLRACE_FOR_EACH_DTYPE.
// Invariant: block structs are packed and little-endian, as they lie in files.
// Threads: any (immutable tables, pure functions).

#include <cstddef>
#include <cstdint>

#include "base/result.h"
#include "tensor/quant/iq4-nl.h"
#include "tensor/quant/iq4-xs.h"
#include "tensor/quant/mxfp4.h"
#include "tensor/quant/plain.h"
#include "tensor/quant/q2-k.h"
#include "tensor/quant/q3-k.h"
#include "tensor/quant/q4-0.h"
#include "tensor/quant/q4-1.h"
#include "tensor/quant/q4-k.h"
#include "tensor/quant/q5-0.h"
#include "tensor/quant/q5-1.h"
#include "tensor/quant/q5-k.h"
#include "tensor/quant/q6-k.h"
#include "tensor/quant/q8-0.h"

namespace millrace {

// enumerator, block struct, name as users say it, GGUF type id, values per block, bytes per block
#define MILLRACE_FOR_EACH_DTYPE(X)         \
  X(f32, F32, "F32", 0, 1, 4)              \
  X(f16, F16, "F16", 1, 1, 2)              \
  X(bf16, Bf16, "BF16", 30, 1, 2)          \
  X(q4_0, Q40, "Q4_0", 2, 32, 18)          \
  X(q4_1, Q41, "Q4_1", 3, 32, 20)          \
  X(q5_0, Q50, "Q5_0", 6, 32, 22)          \
  X(q5_1, Q51, "Q5_1", 7, 32, 24)          \
  X(q8_0, Q80, "Q8_0", 8, 32, 34)          \
  X(q2_k, Q2K, "Q2_K", 10, 256, 84)        \
  X(q3_k, Q3K, "Q3_K", 11, 256, 110)       \
  X(q4_k, Q4K, "Q4_K", 12, 256, 144)       \
  X(q5_k, Q5K, "Q5_K", 13, 256, 176)       \
  X(q6_k, Q6K, "Q6_K", 14, 256, 210)       \
  X(iq4_nl, Iq4Nl, "IQ4_NL", 20, 32, 18)   \
  X(iq4_xs, Iq4Xs, "IQ4_XS", 23, 256, 136) \
  X(mxfp4, Mxfp4, "MXFP4", 39, 32, 17)     \
  X(i8, I8, "I8", 24, 1, 1)                \
  X(i32, I32, "I32", 26, 1, 4)

enum class DType : uint8_t {
#define ROW(id, Block, name, gguf_id, values, bytes) id,
  MILLRACE_FOR_EACH_DTYPE(ROW)
#undef ROW
};

struct DTypeInfo {
  DType dtype;
  const char* name;
  uint32_t gguf_id;
  int block_values;
  int block_bytes;
};

inline constexpr DTypeInfo k_dtypes[] = {
#define ROW(id, Block, name, gguf_id, values, bytes) {DType::id, name, gguf_id, values, bytes},
    MILLRACE_FOR_EACH_DTYPE(ROW)
#undef ROW
};

#define ROW(id, Block, name, gguf_id, values, bytes) \
  static_assert(sizeof(Block) == bytes && Block::k_values == values);
MILLRACE_FOR_EACH_DTYPE(ROW)
#undef ROW

constexpr const DTypeInfo& info_of(DType dtype) { return k_dtypes[static_cast<size_t>(dtype)]; }

// Unsupported for ids that have no row.
Result<DType> dtype_from_gguf(uint32_t id);

// Bytes of a row of n values; n is a multiple of the type's block.
constexpr int64_t row_bytes(DType dtype, int64_t n) {
  return n / info_of(dtype).block_values * info_of(dtype).block_bytes;
}

// n values of a row to f32, exactly; n is a multiple of the type's block.
void decode_row(DType dtype, const void* row, int64_t n, float* out);

// The reverse, rounded to nearest; false for the integer types, which nothing is rounded to.
bool encode_row(DType dtype, const float* values, int64_t n, void* row);

}  // namespace millrace
