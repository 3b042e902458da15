#include "ops/cuda/prepare.h"

#include "ops/cuda/launch.h"
#include "ops/cuda/power.cuh"
#include "ops/cuda/reduce.cuh"

namespace millrace::cuda {
namespace {

constexpr int k_warps = 8;
constexpr int k_threads = k_warps * k_warp;

struct PrepareParams {
  const float* x;
  int64_t x_stride;
  int cols, padded;
  bool bf16;
  uint16_t* out;
  float *unit, *sums;
};

__global__ void __launch_bounds__(k_threads)
    prepare_kernel(const __grid_constant__ PrepareParams params) {
  begin_kernel();
  auto* parts = reinterpret_cast<float*>(shared_memory());
  const int64_t token = blockIdx.x;
  const float* x = params.x + token * params.x_stride;
  float largest = 0;
  for (int i = static_cast<int>(threadIdx.x); i < params.cols; i += k_threads)
    largest = fmaxf(largest, fabsf(x[i]));
  largest = max_of_warp(largest);
  if (lane_of_thread() == 0) parts[warp_of_thread()] = largest;
  __syncthreads();
  for (int i = 0; i < k_warps; ++i) largest = fmaxf(largest, parts[i]);
  const float power = params.bf16 ? 1.0f : power_for(largest, 1);
  if (threadIdx.x == 0) params.unit[token] = params.bf16 ? 1.0f : power_for(largest, -1);

  const int sums = params.padded / k_sum_columns;
  for (int s = static_cast<int>(threadIdx.x); s < sums; s += k_threads) {
    float sum = 0;
    for (int i = s * k_sum_columns; i < (s + 1) * k_sum_columns; ++i) {
      const float value = i < params.cols ? x[i] * power : 0.0f;
      const uint16_t bits = params.bf16 ? bf16_of_f32(value) : f16_of_f32(value);
      params.out[token * params.padded + i] = bits;
      sum += params.bf16 ? bf16_as_f32(bits) : f32_of_f16(bits);
    }
    params.sums[token * sums + s] = sum;
  }
}

}  // namespace

Prepared prepare(Stream& stream, const MatmulArgs& args, int padded, bool bf16) {
  const auto n = static_cast<size_t>(args.n), width = static_cast<size_t>(padded);
  const size_t x_bytes = n * width * sizeof(uint16_t);  // a multiple of 128 bytes
  const size_t sums_bytes = n * width / k_sum_columns * sizeof(float);
  auto* memory = static_cast<char*>(stream.workspace(x_bytes + sums_bytes + n * sizeof(float)));
  if (!memory) return {};
  auto* x = reinterpret_cast<uint16_t*>(memory);
  auto* sums = reinterpret_cast<float*>(memory + x_bytes);
  auto* unit = reinterpret_cast<float*>(memory + x_bytes + sums_bytes);
  const int cols = args.products[0].weight.cols;
  launch(stream, prepare_kernel, {args.n}, k_threads, k_warps * sizeof(float),
         PrepareParams{args.x, args.x_stride, cols, padded, bf16, x, unit, sums});
  return {x, unit, sums, bf16};
}

}  // namespace millrace::cuda
