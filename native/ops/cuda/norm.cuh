#pragma once
// A row of the root mean square norm with the residual addition before it, by one block.

#include "ops/cuda/reduce.cuh"
#include "ops/cuda/row.cuh"
#include "ops/cuda/stream.h"

namespace millrace::cuda {

// `parts` is shared memory for one value per warp. A thread writes the fours that are its own. It
// keeps the first of them, of most rows all it has, and returns what became of it.
template <int warps>
__device__ __forceinline__ Four norm_row(const NormArgs& args, int64_t row, float* parts) {
  const int dim = args.dim;
  float* x = args.x + row * dim;
  Four first;
  float squares = 0;
  for_fours<warps>(dim, [&](int i) {
    Four value = load_four(x, i, dim);
    if (args.add) {
      const Four more = load_four(args.add + row * dim, i, dim);
      for (int j = 0; j < k_four; ++j) value.of[j] += more.of[j];
      store_four(x, i, dim, value);
    }
    for (const float one : value.of) squares = fmaf(one, one, squares);
    if (is_first_four<warps>(i)) first = value;
  });
  const float mean = sum_of_block<warps>(squares, parts) / static_cast<float>(dim);
  const float scale = reciprocal_root(mean + args.eps);
  for_fours<warps>(dim, [&](int i) {
    Four value = is_first_four<warps>(i) ? first : load_four(x, i, dim);
    const Four weight = load_four(args.weight, i, dim);
    for (int j = 0; j < k_four; ++j) value.of[j] = value.of[j] * scale * weight.of[j];
    store_four(args.out + row * dim, i, dim, value);
    if (is_first_four<warps>(i)) first = value;
  });
  return first;
}

// As norm_row does it with one warp and without an addition: this lane's values of a row.
__device__ __forceinline__ Four norm_four(Four value, const float* weight, float eps, int i,
                                          int dim) {
  float squares = 0;
  for (const float one : value.of) squares = fmaf(one, one, squares);
  const float mean = sum_of_warp(squares) / static_cast<float>(dim);
  const float scale = reciprocal_root(mean + eps);
  const Four weights = load_four(weight, i, dim);
  for (int j = 0; j < k_four; ++j) value.of[j] = value.of[j] * scale * weights.of[j];
  return value;
}

// Of the last kernel that was recorded and has not started, where it is a norm of rows of `dim`;
// null where not.
const NormArgs* last_norm(Stream& stream, int dim);

}  // namespace millrace::cuda
