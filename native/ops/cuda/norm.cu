// Root mean square norm with the residual addition before it: one block per row.

#include "ops/cuda/launch.h"
#include "ops/cuda/operators.h"
#include "ops/cuda/reduce.cuh"

namespace millrace::cuda {
namespace {

constexpr int k_warps = 8;  // fixed: the order of the sum must not depend on the batch
constexpr int k_threads = k_warps * k_warp;

__global__ void __launch_bounds__(k_threads) norm_kernel(const __grid_constant__ NormArgs args) {
  begin_kernel();
  auto* parts = reinterpret_cast<float*>(shared_memory());
  const int64_t row = static_cast<int64_t>(blockIdx.x) * args.dim;
  float* x = args.x + row;
  float squares = 0;
  for (int i = static_cast<int>(threadIdx.x); i < args.dim; i += k_threads) {
    float value = x[i];
    if (args.add) {
      value += args.add[row + i];
      x[i] = value;
    }
    squares = fmaf(value, value, squares);
  }
  const float mean = sum_of_block<k_warps>(squares, parts) / static_cast<float>(args.dim);
  const float scale = reciprocal_root(mean + args.eps);
  for (int i = static_cast<int>(threadIdx.x); i < args.dim; i += k_threads)
    args.out[row + i] = x[i] * scale * args.weight[i];
}

}  // namespace

void norm(Stream& stream, const NormArgs& args) {
  launch(stream, norm_kernel, {args.n}, k_threads, k_warps * sizeof(float), args);
}

}  // namespace millrace::cuda
