#include "ops/cuda/prepare.h"

#include "ops/cuda/gate.cuh"
#include "ops/cuda/launch.h"
#include "ops/cuda/norm.cuh"
#include "ops/cuda/power.cuh"

namespace millrace::cuda {
namespace {

struct Nothing {};

template <class Before>
struct PrepareParams {
  Before before;  // what writes x first
  const float* x;
  int64_t x_stride;
  int cols, padded;
  bool bf16;
  uint16_t* out;
  float *unit, *sums;
};

// Thread i writes what it is the first to read: the values i, i + k_row_threads, ... of the row.
__device__ __forceinline__ void write_row(const Nothing&, int64_t, int, float*) {}
__device__ __forceinline__ void write_row(const NormArgs& args, int64_t row, int, float* parts) {
  norm_row(args, row, parts);
}
__device__ __forceinline__ void write_row(const GateArgs& args, int64_t row, int cols, float*) {
  for (int i = static_cast<int>(threadIdx.x); i < cols; i += k_row_threads)
    gate_value(args, row * cols + i);
}

template <class Before>
__global__ void __launch_bounds__(k_row_threads)
    prepare_kernel(const __grid_constant__ PrepareParams<Before> params) {
  begin_kernel();
  auto* parts = reinterpret_cast<float*>(shared_memory());
  const int64_t token = blockIdx.x;
  write_row(params.before, token, params.cols, parts + k_row_warps);
  const float* x = params.x + token * params.x_stride;
  float largest = 0;
  for (int i = static_cast<int>(threadIdx.x); i < params.cols; i += k_row_threads)
    largest = fmaxf(largest, fabsf(x[i]));
  largest = max_of_warp(largest);
  if (lane_of_thread() == 0) parts[warp_of_thread()] = largest;
  __syncthreads();
  for (int i = 0; i < k_row_warps; ++i) largest = fmaxf(largest, parts[i]);
  const float power = params.bf16 ? 1.0f : power_for(largest, 1);
  if (threadIdx.x == 0) params.unit[token] = params.bf16 ? 1.0f : power_for(largest, -1);

  const int sums = params.padded / k_sum_columns;
  for (int s = static_cast<int>(threadIdx.x); s < sums; s += k_row_threads) {
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

template <class Before>
Prepared prepare_after(Stream& stream, const Before& before, const MatmulArgs& args, int padded,
                       bool bf16) {
  const auto n = static_cast<size_t>(args.n), width = static_cast<size_t>(padded);
  const size_t x_bytes = n * width * sizeof(uint16_t);  // a multiple of 128 bytes
  const size_t sums_bytes = n * width / k_sum_columns * sizeof(float);
  auto* memory = static_cast<char*>(stream.workspace(x_bytes + sums_bytes + n * sizeof(float)));
  if (!memory) return {};
  auto* x = reinterpret_cast<uint16_t*>(memory);
  auto* sums = reinterpret_cast<float*>(memory + x_bytes);
  auto* unit = reinterpret_cast<float*>(memory + x_bytes + sums_bytes);
  const int cols = args.products[0].weight.cols;
  launch(stream, prepare_kernel<Before>, {args.n}, k_row_threads, 2 * k_row_warps * sizeof(float),
         PrepareParams<Before>{before, args.x, args.x_stride, cols, padded, bf16, x, unit, sums});
  return {x, unit, sums, bf16};
}

// The work of the last kernel, which does not start then.
template <class Args>
Args taken(Stream& stream, const Args* last) {
  const Args args = *last;
  stream.recorded().drop_last();
  return args;
}

}  // namespace

Prepared prepare(Stream& stream, const MatmulArgs& args, int padded, bool bf16) {
  const int cols = args.products[0].weight.cols;
  const bool dense = args.x_stride == cols;
  const NormArgs* norm = last_norm(stream);
  if (norm && dense && norm->out == args.x && norm->n == args.n && norm->dim == cols)
    return prepare_after(stream, taken(stream, norm), args, padded, bf16);
  const GateArgs* gate = last_gate(stream);
  if (gate && dense && gate->out == args.x && gate->count == static_cast<int64_t>(args.n) * cols)
    return prepare_after(stream, taken(stream, gate), args, padded, bf16);
  return prepare_after(stream, Nothing(), args, padded, bf16);
}

}  // namespace millrace::cuda
