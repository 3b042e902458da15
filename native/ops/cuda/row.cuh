#pragma once
// A row of values by one block, whose threads take four neighbours at a time: where a step has few
// rows, nobody else keeps memory busy. How many warps a block has depends on the length of the row
// alone, and with it the order of sums: never on the batch.

#include <type_traits>

#include "ops/cuda/platform.h"

namespace millrace::cuda {

constexpr int k_four = 4;
constexpr int k_four_of_warp = k_four * k_warp;

constexpr int warps_for_row(int n) {
  return n <= k_four_of_warp ? 1 : n <= 8 * k_four_of_warp ? 8 : 32;
}

// Calls body with that number as a constant.
template <class F>
auto with_warps_for_row(int n, const F& body) {
  const int warps = warps_for_row(n);
  if (warps == 1) return body(std::integral_constant<int, 1>());
  if (warps == 8) return body(std::integral_constant<int, 8>());
  return body(std::integral_constant<int, 32>());
}

struct alignas(k_four * sizeof(float)) Four {
  float of[k_four] = {};
};

__device__ __forceinline__ bool is_whole_four(const float* x, int i, int n) {
  return i + k_four <= n && reinterpret_cast<uintptr_t>(x + i) % sizeof(Four) == 0;
}

// Values i, i + 1, ... of n; zeros beyond.
__device__ __forceinline__ Four load_four(const float* x, int i, int n) {
  if (is_whole_four(x, i, n)) return *reinterpret_cast<const Four*>(x + i);
  Four four;
#pragma unroll
  for (int j = 0; j < k_four; ++j)
    if (i + j < n) four.of[j] = x[i + j];
  return four;
}

__device__ __forceinline__ void store_four(float* x, int i, int n, const Four& four) {
  if (is_whole_four(x, i, n)) {
    *reinterpret_cast<Four*>(x + i) = four;
    return;
  }
#pragma unroll
  for (int j = 0; j < k_four; ++j)
    if (i + j < n) x[i + j] = four.of[j];
}

// Calls body with i for every four values i, i + 1, ... of n that are this thread's.
template <int warps, class F>
__device__ __forceinline__ void for_fours(int n, const F& body) {
  for (int i = static_cast<int>(threadIdx.x) * k_four; i < n; i += warps * k_four_of_warp) body(i);
}

template <int warps>
__device__ __forceinline__ bool is_first_four(int i) {
  return i < warps * k_four_of_warp;
}

}  // namespace millrace::cuda
