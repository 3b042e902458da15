// Norm: one block per row.

#include "ops/cuda/norm.cuh"

#include "ops/cuda/launch.h"
#include "ops/cuda/operators.h"

namespace millrace::cuda {
namespace {

template <int warps>
__global__ void __launch_bounds__(warps* k_warp)
    norm_kernel(const __grid_constant__ NormArgs args) {
  begin_kernel();
  norm_row<warps>(args, blockIdx.x, reinterpret_cast<float*>(shared_memory()));
}

}  // namespace

void norm(Stream& stream, const NormArgs& args) {
  with_warps_for_row(args.dim, [&](auto warps) {
    constexpr int k_warps = decltype(warps)::value;
    launch(stream, norm_kernel<k_warps>, {args.n}, k_warps * k_warp, k_warps * sizeof(float), args);
  });
}

const NormArgs* last_norm(Stream& stream, int dim) {
  return with_warps_for_row(
      dim, [&](auto warps) { return last_params(stream, norm_kernel<decltype(warps)::value>); });
}

}  // namespace millrace::cuda
