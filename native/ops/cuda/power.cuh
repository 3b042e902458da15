#pragma once
// Rows of f32 become f16 under a power of two of their own, so that neither large nor small ones
// lose what f16 could keep.

#include "ops/cuda/platform.h"

namespace millrace::cuda {

constexpr uint32_t k_exponent_bias = 127;
constexpr uint32_t k_top_exponent = 14;  // of the largest value of a scaled row

// 2^(14 - floor(log2(largest))) for sign 1, its inverse for -1.
__device__ __forceinline__ float power_for(float largest, int sign) {
  const int exponent =
      static_cast<int>(bits_of_float(largest) >> 23) - static_cast<int>(k_exponent_bias);
  const int wanted = largest > 0 ? sign * (static_cast<int>(k_top_exponent) - exponent) : 0;
  const int bounded = wanted > 126 ? 126 : wanted < -126 ? -126 : wanted;
  return float_of_bits(static_cast<uint32_t>(bounded + static_cast<int>(k_exponent_bias)) << 23);
}

}  // namespace millrace::cuda
