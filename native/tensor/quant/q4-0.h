#pragma once
// Q4_0: 32 values of 4 bits with one f16 scale; value = d * (code - 8).
// Threads: plain data and pure functions; host and device.

#include <cstdint>

#include "tensor/half.h"
#include "tensor/quant/codes.h"
#include "tensor/quant/rounding.h"

namespace millrace {

struct Q40 : Coded<CodeShape{.values = 32, .sub = 32, .levels = 16, .zero = 8}> {
  uint16_t d;
  uint8_t qs[16];  // value i in the low bits of byte i, value i + 16 in the high bits
};

constexpr void split(const Q40& block, BlockCodes& out) {
  split_nibbles(block.qs, 16, out.code);
  scale_once<Q40>(out, f16_to_f32(block.d), 0.0f);
}

constexpr void join(const BlockCodes& codes, Q40& out) {
  out.d = f32_to_f16(codes.d);
  join_nibbles(codes.code, 16, out.qs);
}

constexpr void encode(const float* x, Q40& out) {
  BlockCodes codes{};
  scale_once<Q40>(codes, through_f16(extreme(x, 32) / -8.0f), 0.0f);
  choose_codes<Q40>(x, codes);
  join(codes, out);
}

}  // namespace millrace
