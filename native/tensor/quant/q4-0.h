#pragma once
// Q4_0: 32 values of 4 bits with one f16 scale; value = d * (code - 8).
// Threads: plain data and pure functions; host and device.

#include <cstdint>

#include "tensor/half.h"
#include "tensor/quant/codes.h"
#include "tensor/quant/rounding.h"

namespace millrace {

struct Q40 {
  static constexpr int k_values = 32;
  static constexpr int k_sub = 32;
  static constexpr int k_levels = 16;
  static constexpr int k_zero = 8;
  static constexpr bool k_offset = false;
  static constexpr bool k_table = false;
  static constexpr int level(int code) { return code - k_zero; }

  uint16_t d;
  uint8_t qs[16];  // value i in the low bits of byte i, value i + 16 in the high bits
};

constexpr void split(const Q40& block, BlockCodes& out) {
  for (int i = 0; i < 16; ++i) {
    out.code[i] = block.qs[i] & 15;
    out.code[i + 16] = block.qs[i] >> 4;
  }
  scale_once<Q40>(out, f16_to_f32(block.d), 0.0f);
}

constexpr void join(const BlockCodes& codes, Q40& out) {
  out.d = f32_to_f16(codes.d);
  for (int i = 0; i < 16; ++i)
    out.qs[i] = static_cast<uint8_t>(codes.code[i] | (codes.code[i + 16] << 4));
}

constexpr void encode(const float* x, Q40& out) {
  BlockCodes codes{};
  scale_once<Q40>(codes, through_f16(extreme(x, 32) / -8.0f), 0.0f);
  choose_codes<Q40>(x, codes);
  join(codes, out);
}

}  // namespace millrace
