#pragma once
// MXFP4: 32 values of 4-bit floats (e2m1) with one power of two (e8m0) of the OCP MX formats.
// Levels are doubled to be integers, so d is half the stored power: value = d * level.
// Threads: plain data and pure functions; host and device.

#include <bit>
#include <cstdint>

#include "tensor/half.h"
#include "tensor/quant/codes.h"
#include "tensor/quant/rounding.h"

namespace millrace {

struct Mxfp4 : Coded<CodeShape{.values = 32, .sub = 32, .levels = 16, .has_table = true}> {
  static constexpr int level(int code) {
    constexpr int8_t k_mxfp4_levels[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
    return k_mxfp4_levels[code];
  }

  uint8_t e;       // the stored power is 2^(e - 127)
  uint8_t qs[16];  // value i in the low bits of byte i, value i + 16 in the high bits
};

// 2^(e - 128), the smallest two being subnormal.
constexpr float mxfp4_scale(uint8_t e) {
  const uint32_t bits = e < 2 ? 0x00200000u << e : static_cast<uint32_t>(e - 1) << 23;
  return std::bit_cast<float>(bits);
}

constexpr void split(const Mxfp4& block, BlockCodes& out) {
  split_nibbles(block.qs, 16, out.code);
  scale_once<Mxfp4>(out, mxfp4_scale(block.e), 0.0f);
}

constexpr void join(const BlockCodes& codes, Mxfp4& out) {
  const uint32_t exponent = std::bit_cast<uint32_t>(codes.d) >> 23;
  const bool smallest = std::bit_cast<uint32_t>(codes.d) == 0x00200000u;
  out.e = static_cast<uint8_t>(exponent > 0 ? exponent + 1 : smallest ? 0 : 1);
  join_nibbles(codes.code, 16, out.qs);
}

// The smallest power under which the extreme does not exceed the top level, 12.
constexpr void encode(const float* x, Mxfp4& out) {
  const float top = extreme(x, 32);
  const float magnitude = (top < 0 ? -top : top) / 12.0f;
  int e = 0;
  while (e < 254 && mxfp4_scale(static_cast<uint8_t>(e)) < magnitude) ++e;
  BlockCodes codes{};
  scale_once<Mxfp4>(codes, mxfp4_scale(static_cast<uint8_t>(e)), 0.0f);
  choose_codes<Mxfp4>(x, codes);
  join(codes, out);
}

}  // namespace millrace
