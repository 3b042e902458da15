// Norm: one block per row.

#include "ops/cuda/norm.cuh"

#include "ops/cuda/launch.h"
#include "ops/cuda/operators.h"

namespace millrace::cuda {
namespace {

__global__ void __launch_bounds__(k_row_threads)
    norm_kernel(const __grid_constant__ NormArgs args) {
  begin_kernel();
  norm_row(args, blockIdx.x, reinterpret_cast<float*>(shared_memory()));
}

}  // namespace

void norm(Stream& stream, const NormArgs& args) {
  launch(stream, norm_kernel, {args.n}, k_row_threads, k_row_warps * sizeof(float), args);
}

const NormArgs* last_norm(Stream& stream) { return last_params(stream, norm_kernel); }

}  // namespace millrace::cuda
