#pragma once
// Q4_1: 32 values of 4 bits with f16 scale and minimum; value = d * code + m.
// Threads: plain data and pure functions; host and device.

#include <cstdint>

#include "tensor/half.h"
#include "tensor/quant/codes.h"
#include "tensor/quant/rounding.h"

namespace millrace {

struct Q41 : Coded<CodeShape{.values = 32, .sub = 32, .levels = 16, .has_offset = true}> {
  uint16_t d;
  uint16_t m;
  uint8_t qs[16];  // value i in the low bits of byte i, value i + 16 in the high bits
};

constexpr void split(const Q41& block, BlockCodes& out) {
  split_nibbles(block.qs, 16, out.code);
  scale_once<Q41>(out, f16_to_f32(block.d), -f16_to_f32(block.m));
}

constexpr void join(const BlockCodes& codes, Q41& out) {
  out.d = f32_to_f16(codes.d);
  out.m = f32_to_f16(-codes.dmin);
  join_nibbles(codes.code, 16, out.qs);
}

constexpr void encode(const float* x, Q41& out) {
  const Range range = range_of(x, 32);
  BlockCodes codes{};
  scale_once<Q41>(codes, through_f16((range.high - range.low) / 15.0f), -through_f16(range.low));
  choose_codes<Q41>(x, codes);
  join(codes, out);
}

}  // namespace millrace
