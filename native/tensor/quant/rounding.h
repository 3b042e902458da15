#pragma once
// How encoders choose scales and codes: scales from the extremes, then nearest levels; no search.
// Written without <cmath> so that it compiles for host and device alike.
// Threads: pure functions.

#include <cstdint>

#include "tensor/half.h"
#include "tensor/quant/codes.h"

namespace millrace {

// Nearest integer, halves to even, of a value well inside int range; not finite gives 0.
constexpr int round_nearest(float value) {
  if (!(value > -4e6f && value < 4e6f)) return 0;
  constexpr float k_magic = 12582912.0f;  // 1.5 * 2^23: the step of f32 there is 1
  const float shifted = value + k_magic;
  return static_cast<int>(shifted - k_magic);
}

constexpr int clamp(int value, int low, int high) {
  return value < low ? low : value > high ? high : value;
}

constexpr float through_f16(float value) { return f16_to_f32(f32_to_f16(value)); }

// The value of largest magnitude, with its sign.
constexpr float extreme(const float* x, int n) {
  float best = 0.0f;
  for (int i = 0; i < n; ++i)
    if ((x[i] < 0 ? -x[i] : x[i]) > (best < 0 ? -best : best)) best = x[i];
  return best;
}

struct Range {
  float low, high;
};
constexpr Range range_of(const float* x, int n) {
  Range range{x[0], x[0]};
  for (int i = 1; i < n; ++i) {
    if (x[i] < range.low) range.low = x[i];
    if (x[i] > range.high) range.high = x[i];
  }
  return range;
}

template <class Block>
constexpr int nearest_code(float level) {
  if constexpr (Block::k_table) {
    int best = 0;
    float best_distance = 1e30f;
    for (int c = 0; c < Block::k_levels; ++c) {
      const float difference = level - static_cast<float>(Block::level(c));
      const float distance = difference < 0 ? -difference : difference;
      if (distance < best_distance) {
        best = c;
        best_distance = distance;
      }
    }
    return best;
  } else {
    return clamp(round_nearest(level) + Block::k_zero, 0, Block::k_levels - 1);
  }
}

// The nearest codes of a block whose scales and offsets are set.
template <class Block>
constexpr void choose_codes(const float* x, BlockCodes& codes) {
  for (int i = 0; i < Block::k_values; ++i) {
    const int s = i / Block::k_sub;
    const float inverse = codes.scale[s] != 0.0f ? 1.0f / codes.scale[s] : 0.0f;
    codes.code[i] = static_cast<uint8_t>(nearest_code<Block>((x[i] + codes.offset[s]) * inverse));
  }
}

// Symmetric types with sub-scales in [low, high]: each sub-block's extreme lands on level(0).
template <class Block>
constexpr void choose_signed_scales(const float* x, int low, int high, BlockCodes& codes) {
  constexpr int n = k_subs<Block>;
  constexpr float k_peak = static_cast<float>(Block::level(0));
  float wanted[n] = {};
  for (int s = 0; s < n; ++s) wanted[s] = extreme(x + s * Block::k_sub, Block::k_sub) / k_peak;
  codes.d = through_f16(extreme(wanted, n) / static_cast<float>(low));
  codes.dmin = 0.0f;
  const float inverse = codes.d != 0.0f ? 1.0f / codes.d : 0.0f;
  for (int s = 0; s < n; ++s) {
    codes.sub_scale[s] = static_cast<int16_t>(clamp(round_nearest(wanted[s] * inverse), low, high));
    codes.sub_min[s] = 0;
  }
  scale_codes<Block>(codes);
}

// Types with a minimum: sub-scales and sub-minimums in [0, high].
template <class Block>
constexpr void choose_ranged_scales(const float* x, int high, BlockCodes& codes) {
  constexpr int n = k_subs<Block>;
  float scales[n] = {}, minimums[n] = {};
  for (int s = 0; s < n; ++s) {
    const Range range = range_of(x + s * Block::k_sub, Block::k_sub);
    minimums[s] = range.low < 0 ? -range.low : 0.0f;
    const float top = range.high + minimums[s];
    scales[s] = top > 0 ? top / static_cast<float>(Block::k_levels - 1) : 0.0f;
  }
  codes.d = through_f16(extreme(scales, n) / static_cast<float>(high));
  codes.dmin = through_f16(extreme(minimums, n) / static_cast<float>(high));
  const float scale_inverse = codes.d != 0.0f ? 1.0f / codes.d : 0.0f;
  const float min_inverse = codes.dmin != 0.0f ? 1.0f / codes.dmin : 0.0f;
  for (int s = 0; s < n; ++s) {
    codes.sub_scale[s] =
        static_cast<int16_t>(clamp(round_nearest(scales[s] * scale_inverse), 0, high));
    codes.sub_min[s] =
        static_cast<int16_t>(clamp(round_nearest(minimums[s] * min_inverse), 0, high));
  }
  scale_codes<Block>(codes);
}

}  // namespace millrace
