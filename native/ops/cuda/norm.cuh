#pragma once
// A row of the root mean square norm with the residual addition before it, by one block.

#include "ops/cuda/reduce.cuh"
#include "ops/cuda/stream.h"

namespace millrace::cuda {

constexpr int k_row_warps = 8;  // fixed: the order of the sum must not depend on the batch
constexpr int k_row_threads = k_row_warps * k_warp;

// `parts` is shared memory for one value per warp. Thread i writes the values i, i + k_row_threads,
// ... of the row.
__device__ __forceinline__ void norm_row(const NormArgs& args, int64_t row, float* parts) {
  const int64_t first = row * args.dim;
  float* x = args.x + first;
  float squares = 0;
  for (int i = static_cast<int>(threadIdx.x); i < args.dim; i += k_row_threads) {
    float value = x[i];
    if (args.add) {
      value += args.add[first + i];
      x[i] = value;
    }
    squares = fmaf(value, value, squares);
  }
  const float mean = sum_of_block<k_row_warps>(squares, parts) / static_cast<float>(args.dim);
  const float scale = reciprocal_root(mean + args.eps);
  for (int i = static_cast<int>(threadIdx.x); i < args.dim; i += k_row_threads)
    args.out[first + i] = x[i] * scale * args.weight[i];
}

// Of the last kernel that was recorded and has not started, where it is a norm; null where not.
const NormArgs* last_norm(Stream& stream);

}  // namespace millrace::cuda
