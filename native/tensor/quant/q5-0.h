#pragma once
// Q5_0: 32 values of 5 bits with one f16 scale; value = d * (code - 16).
// Threads: plain data and pure functions; host and device.

#include <cstdint>

#include "tensor/half.h"
#include "tensor/quant/codes.h"
#include "tensor/quant/rounding.h"

namespace millrace {

struct Q50 : Coded<CodeShape{.values = 32, .sub = 32, .levels = 32, .zero = 16}> {
  uint16_t d;
  uint8_t qh[4];   // bit i of the 32: the fifth bit of value i
  uint8_t qs[16];  // value i in the low bits of byte i, value i + 16 in the high bits
};

constexpr void split(const Q50& block, BlockCodes& out) {
  split_nibbles(block.qs, 16, out.code);
  for (int i = 0; i < 32; ++i) out.code[i] |= ((block.qh[i / 8] >> (i % 8)) & 1) << 4;
  scale_once<Q50>(out, f16_to_f32(block.d), 0.0f);
}

constexpr void join(const BlockCodes& codes, Q50& out) {
  out.d = f32_to_f16(codes.d);
  for (int i = 0; i < 4; ++i) out.qh[i] = 0;
  for (int i = 0; i < 32; ++i)
    out.qh[i / 8] |= static_cast<uint8_t>((codes.code[i] >> 4) << (i % 8));
  join_nibbles(codes.code, 16, out.qs);
}

constexpr void encode(const float* x, Q50& out) {
  BlockCodes codes{};
  scale_once<Q50>(codes, through_f16(extreme(x, 32) / -16.0f), 0.0f);
  choose_codes<Q50>(x, codes);
  join(codes, out);
}

}  // namespace millrace
