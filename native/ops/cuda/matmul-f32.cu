// Products with f32 weights, which only tests and small parts of models have: one warp per row and
// up to k_float_tokens tokens, without tensor cores.

#include "ops/cuda/launch.h"
#include "ops/cuda/operators.h"
#include "ops/cuda/reduce.cuh"

namespace millrace::cuda {
namespace {

constexpr int k_warps = 8;
constexpr int k_threads = k_warps * k_warp;
constexpr int k_float_tokens = 8;

struct FloatParams {
  Product product;
  const float* x;
  int64_t x_stride;
  int n;
};

__global__ void __launch_bounds__(k_threads)
    matmul_f32_kernel(const __grid_constant__ FloatParams params) {
  begin_kernel();
  const Weight& weight = params.product.weight;
  const int row = static_cast<int>(blockIdx.x) * k_warps + warp_of_thread();
  if (row >= weight.rows) return;  // the whole warp
  const auto* w = reinterpret_cast<const float*>(static_cast<const char*>(weight.data) +
                                                 row * weight.row_bytes);
  const int first = static_cast<int>(blockIdx.y) * k_float_tokens;
  const int count = params.n - first < k_float_tokens ? params.n - first : k_float_tokens;
  float sums[k_float_tokens] = {};
  for (int i = lane_of_thread(); i < weight.cols; i += k_warp) {
    const float value = w[i];
    for (int t = 0; t < k_float_tokens; ++t)
      if (t < count) sums[t] = fmaf(value, params.x[(first + t) * params.x_stride + i], sums[t]);
  }
  for (int t = 0; t < k_float_tokens; ++t) {
    const float sum = sum_of_warp(sums[t]);
    if (t < count && lane_of_thread() == 0)
      params.product.out[(first + t) * params.product.out_stride + row] =
          sum + (params.product.bias ? params.product.bias[row] : 0.0f);
  }
}

}  // namespace

void multiply_f32(Stream& stream, const MatmulArgs& args, const Product& product) {
  FloatParams params{product, args.x, args.x_stride, args.n};
  if (!params.product.out_stride) params.product.out_stride = product.weight.rows;
  launch(stream, matmul_f32_kernel,
         {divide_up(product.weight.rows, k_warps), divide_up(args.n, k_float_tokens)}, k_threads, 0,
         params);
}

}  // namespace millrace::cuda
