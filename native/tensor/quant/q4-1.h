#pragma once
// Q4_1: 32 values of 4 bits with f16 scale and minimum; value = d * code + m.
// Threads: plain data and pure functions; host and device.

#include <cstdint>

#include "tensor/half.h"
#include "tensor/quant/codes.h"
#include "tensor/quant/rounding.h"

namespace millrace {

struct Q41 {
  static constexpr int k_values = 32;
  static constexpr int k_sub = 32;
  static constexpr int k_levels = 16;
  static constexpr int k_zero = 0;
  static constexpr bool k_offset = true;
  static constexpr bool k_table = false;
  static constexpr int level(int code) { return code - k_zero; }

  uint16_t d;
  uint16_t m;
  uint8_t qs[16];  // value i in the low bits of byte i, value i + 16 in the high bits
};

constexpr void split(const Q41& block, BlockCodes& out) {
  for (int i = 0; i < 16; ++i) {
    out.code[i] = block.qs[i] & 15;
    out.code[i + 16] = block.qs[i] >> 4;
  }
  scale_once<Q41>(out, f16_to_f32(block.d), -f16_to_f32(block.m));
}

constexpr void join(const BlockCodes& codes, Q41& out) {
  out.d = f32_to_f16(codes.d);
  out.m = f32_to_f16(-codes.dmin);
  for (int i = 0; i < 16; ++i)
    out.qs[i] = static_cast<uint8_t>(codes.code[i] | (codes.code[i + 16] << 4));
}

constexpr void encode(const float* x, Q41& out) {
  const Range range = range_of(x, 32);
  BlockCodes codes{};
  scale_once<Q41>(codes, through_f16((range.high - range.low) / 15.0f), -through_f16(range.low));
  choose_codes<Q41>(x, codes);
  join(codes, out);
}

}  // namespace millrace
