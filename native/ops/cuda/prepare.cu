#include "ops/cuda/prepare.h"

#include "ops/cuda/gate.cuh"
#include "ops/cuda/matmul.cuh"
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
  int64_t bf16;  // yes or no; as wide as its neighbours, for graphs compare all bytes
  uint16_t* out;
  float *unit, *sums;
};

struct alignas(k_four * sizeof(uint16_t)) FourHalves {
  uint16_t of[k_four];
};

// Writes the row of x and returns this thread's first four of it; a thread writes the fours that it
// reads.
template <int warps>
__device__ __forceinline__ Four write_row(const Nothing&, const float* x, int64_t, int cols,
                                          float*) {
  return load_four(x, static_cast<int>(threadIdx.x) * k_four, cols);
}
template <int warps>
__device__ __forceinline__ Four write_row(const NormArgs& args, const float*, int64_t row, int,
                                          float* parts) {
  return norm_row<warps>(args, row, parts);
}
template <int warps>
__device__ __forceinline__ Four write_row(const GateArgs& args, const float*, int64_t row, int cols,
                                          float*) {
  Four first;
  for_fours<warps>(cols, [&](int i) {
    Four value = load_four(args.gate + row * cols, i, cols);
    const Four up = load_four(args.up + row * cols, i, cols);
    for (int j = 0; j < k_four; ++j) value.of[j] = activate(value.of[j], args.act) * up.of[j];
    store_four(args.out + row * cols, i, cols, value);
    if (is_first_four<warps>(i)) first = value;
  });
  return first;
}

template <class Before, int warps>
__global__ void __launch_bounds__(warps* k_warp)
    prepare_kernel(const __grid_constant__ PrepareParams<Before> params) {
  begin_kernel();
  auto* parts = reinterpret_cast<float*>(shared_memory());
  const int64_t token = blockIdx.x;
  const float* x = params.x + token * params.x_stride;
  const Four first = write_row<warps>(params.before, x, token, params.cols, parts + warps);
  const auto four = [&](int i) {
    return is_first_four<warps>(i) ? first : load_four(x, i, params.cols);
  };
  float largest = 0;
  for_fours<warps>(params.cols, [&](int i) {
    const Four value = four(i);
    for (const float one : value.of) largest = fmaxf(largest, fabsf(one));
  });
  largest = max_of_warp(largest);
  if (lane_of_thread() == 0) parts[warp_of_thread()] = largest;
  __syncthreads();
  for (int i = 0; i < warps; ++i) largest = fmaxf(largest, parts[i]);
  const float power = params.bf16 ? 1.0f : power_for(largest, 1);
  if (threadIdx.x == 0) params.unit[token] = params.bf16 ? 1.0f : power_for(largest, -1);

  // All lanes come along to the end, for four of them share a sum.
  constexpr int lanes_of_sum = k_sum_columns / k_four;
  for (int start = 0; start < params.padded; start += warps * k_four_of_warp) {
    const int i = start + static_cast<int>(threadIdx.x) * k_four;
    const Four value = four(i);
    FourHalves bits;
    float sum = 0;
    for (int j = 0; j < k_four; ++j) {
      const float scaled = value.of[j] * power;
      bits.of[j] = params.bf16 ? bf16_of_f32(scaled) : f16_of_f32(scaled);
      sum += params.bf16 ? bf16_as_f32(bits.of[j]) : f32_of_f16(bits.of[j]);
    }
    for (int mask = 1; mask < lanes_of_sum; mask *= 2) sum += shuffle_xor(sum, mask);
    if (i >= params.padded) continue;
    *reinterpret_cast<FourHalves*>(params.out + place_of_value(gridDim.x, token, i)) = bits;
    if (i % k_sum_columns == 0) params.sums[(token * params.padded + i) / k_sum_columns] = sum;
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
  with_warps_for_row(cols, [&](auto warps) {
    constexpr int k_warps = decltype(warps)::value;
    launch(stream, prepare_kernel<Before, k_warps>, {args.n}, k_warps * k_warp,
           2 * k_warps * sizeof(float),
           PrepareParams<Before>{before, args.x, args.x_stride, cols, padded, bf16, x, unit, sums});
  });
  return {x, unit, sums, bf16};
}

}  // namespace

Prepared prepare(Stream& stream, const MatmulArgs& args, int padded, bool bf16) {
  const int cols = args.products[0].weight.cols;
  const bool dense = args.x_stride == cols;
  if (stream.step().takes_rounded(stream, args.x))
    return Rounded::of(const_cast<float*>(args.x), args.n, cols).input();
  const NormArgs* norm = last_norm(stream, cols);
  if (norm && dense && norm->out == args.x && norm->n == args.n && norm->dim == cols)
    return prepare_after(stream, taken(stream, norm), args, padded, bf16);
  const GateArgs* gate = last_gate(stream);
  if (gate && dense && gate->out == args.x && gate->count == static_cast<int64_t>(args.n) * cols) {
    const GateArgs before = taken(stream, gate);
    if (bf16 && before.passed_to == DType::bf16)
      if (const Prepared gated = take_gated(stream, before, args.n, cols); gated.x) return gated;
    return prepare_after(stream, before, args, padded, bf16);
  }
  return prepare_after(stream, Nothing(), args, padded, bf16);
}

}  // namespace millrace::cuda
