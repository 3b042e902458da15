#pragma once
// e^x for x <= 0, the same bits wherever it is compiled: no branch, no call, no fused addition.
// Threads: pure functions; host and device.

#include <bit>
#include <cstdint>

namespace millrace {

// To within 2e-7 of the result; 0 from -87 down, and for NaN.
constexpr float exp_of(float x) {
  constexpr float k_log2e = 1.44269504f, k_round = 12582912.0f;  // 1.5 * 2^23
  constexpr float k_ln2_high = 0.693145752f, k_ln2_low = 1.42860677e-6f;
  constexpr uint32_t k_least = std::bit_cast<uint32_t>(-87.0f), k_magnitude = 0x7fffffff;
  // All ones for x > -87, from the magnitude: loops over conditions of floats are not made vectors.
  const uint32_t bits_of_x = std::bit_cast<uint32_t>(x);
  const uint32_t kept = 0u - (((bits_of_x & k_magnitude) - (k_least & k_magnitude)) >> 31);
  const float bounded = std::bit_cast<float>((bits_of_x & kept) | (k_least & ~kept));
  const float shifted = bounded * k_log2e + k_round;
  const float power = shifted - k_round;
  const float r = (bounded - power * k_ln2_high) - power * k_ln2_low;
  float series = 1.0f / 5040;  // Taylor to r^7: |r| <= ln(2) / 2, so the rest is below 6e-9
  series = series * r + 1.0f / 720;
  series = series * r + 1.0f / 120;
  series = series * r + 1.0f / 24;
  series = series * r + 1.0f / 6;
  series = series * r + 0.5f;
  series = series * r + 1.0f;
  series = series * r + 1.0f;
  // 2^power, which stands in the low bits of shifted
  const uint32_t bits = (std::bit_cast<uint32_t>(shifted) << 23) + 0x3f800000u;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(series * std::bit_cast<float>(bits)) & kept);
}

}  // namespace millrace
