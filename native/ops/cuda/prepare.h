#pragma once
// The input of a matrix product as tensor cores take it, once for all products that share it.

#include "ops/cuda/stream.h"
#include "ops/ops.h"

namespace millrace::cuda {

constexpr int k_sum_columns = 16;  // columns of one entry of x_sums

struct Prepared {
  const uint16_t* x;    // [n, padded], f16 or bf16
  const float* x_unit;  // [n], what the integers of a row are worth: a power of two
  const float* x_sums;  // [n, padded / 16], of what x holds
  bool bf16;
};

// Rounds args.x to f16, each row scaled by a power of two that puts its largest value below 2^15,
// or to bf16 as it is. Rows are filled with zeros to `padded` columns, a multiple of 64. Where the
// kernel before is the norm or the gate that writes args.x, both become one. Lies in the workspace;
// null members after an error.
Prepared prepare(Stream& stream, const MatmulArgs& args, int padded, bool bf16);

}  // namespace millrace::cuda
