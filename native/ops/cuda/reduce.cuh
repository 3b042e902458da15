#pragma once
// Sums over a warp and over a block, in one order.

#include "ops/cuda/platform.h"

namespace millrace::cuda {

// The sum of all lanes, in every lane.
template <class T>
__device__ __forceinline__ T sum_of_warp(T value) {
  for (int mask = k_warp / 2; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}

// The largest of all lanes, in every lane; NaN counts as nothing, so that all lanes agree.
__device__ __forceinline__ float max_of_warp(float value) {
  for (int mask = k_warp / 2; mask > 0; mask /= 2) value = fmaxf(value, shuffle_xor(value, mask));
  return value;
}

// The sum of all threads, in every thread. `parts` is shared memory for one value per warp; it may
// be used again after the next barrier of the block.
template <int warps, class T>
__device__ __forceinline__ T sum_of_block(T value, T* parts) {
  value = sum_of_warp(value);
  if (lane_of_thread() == 0) parts[warp_of_thread()] = value;
  __syncthreads();
  T sum = 0;
  for (int i = 0; i < warps; ++i) sum += parts[i];
  return sum;
}

}  // namespace millrace::cuda
