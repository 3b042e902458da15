#pragma once
// Q4_K: 256 values of 4 bits in subs of 32; value = d * scale * code - dmin * min.
// Threads: plain data and pure functions; host and device.

#include <cstdint>

#include "tensor/half.h"
#include "tensor/quant/codes.h"
#include "tensor/quant/k-scales.h"
#include "tensor/quant/rounding.h"

namespace millrace {

struct Q4K {
  static constexpr int k_values = 256;
  static constexpr int k_sub = 32;
  static constexpr int k_levels = 16;
  static constexpr int k_zero = 0;
  static constexpr bool k_offset = true;
  static constexpr bool k_table = false;
  static constexpr int level(int code) { return code - k_zero; }

  uint16_t d;
  uint16_t dmin;
  uint8_t scales[12];
  uint8_t qs[128];  // per quarter of 64: byte l holds value l in the low bits, l + 32 in the high
};

constexpr void split(const Q4K& block, BlockCodes& out) {
  out.d = f16_to_f32(block.d);
  out.dmin = f16_to_f32(block.dmin);
  split_k_scales(block.scales, out);
  for (int s = 0; s < 8; ++s)
    for (int l = 0; l < 32; ++l)
      out.code[32 * s + l] = (block.qs[s / 2 * 32 + l] >> (s % 2 * 4)) & 15;
  scale_codes<Q4K>(out);
}

constexpr void join(const BlockCodes& codes, Q4K& out) {
  out.d = f32_to_f16(codes.d);
  out.dmin = f32_to_f16(codes.dmin);
  join_k_scales(codes, out.scales);
  for (int i = 0; i < 128; ++i) {
    const int first = i / 32 * 64 + i % 32;
    out.qs[i] = static_cast<uint8_t>(codes.code[first] | (codes.code[first + 32] << 4));
  }
}

constexpr void encode(const float* x, Q4K& out) {
  BlockCodes codes{};
  choose_ranged_scales<Q4K>(x, 63, codes);
  choose_codes<Q4K>(x, codes);
  join(codes, out);
}

}  // namespace millrace
