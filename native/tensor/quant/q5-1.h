#pragma once
// Q5_1: 32 values of 5 bits with f16 scale and minimum; value = d * code + m.
// Threads: plain data and pure functions; host and device.

#include <cstdint>

#include "tensor/half.h"
#include "tensor/quant/codes.h"
#include "tensor/quant/rounding.h"

namespace millrace {

struct Q51 : Coded<CodeShape{.values = 32, .sub = 32, .levels = 32, .has_offset = true}> {
  uint16_t d;
  uint16_t m;
  uint8_t qh[4];   // bit i of the 32: the fifth bit of value i
  uint8_t qs[16];  // value i in the low bits of byte i, value i + 16 in the high bits
};

constexpr void split(const Q51& block, BlockCodes& out) {
  split_nibbles(block.qs, 16, out.code);
  for (int i = 0; i < 32; ++i) out.code[i] |= ((block.qh[i / 8] >> (i % 8)) & 1) << 4;
  scale_once<Q51>(out, f16_to_f32(block.d), -f16_to_f32(block.m));
}

constexpr void join(const BlockCodes& codes, Q51& out) {
  out.d = f32_to_f16(codes.d);
  out.m = f32_to_f16(-codes.dmin);
  for (int i = 0; i < 4; ++i) out.qh[i] = 0;
  for (int i = 0; i < 32; ++i)
    out.qh[i / 8] |= static_cast<uint8_t>((codes.code[i] >> 4) << (i % 8));
  join_nibbles(codes.code, 16, out.qs);
}

constexpr void encode(const float* x, Q51& out) {
  const Range range = range_of(x, 32);
  BlockCodes codes{};
  scale_once<Q51>(codes, through_f16((range.high - range.low) / 31.0f), -through_f16(range.low));
  choose_codes<Q51>(x, codes);
  join(codes, out);
}

}  // namespace millrace
