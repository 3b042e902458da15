#pragma once
// Q4_K: 256 values of 4 bits in subs of 32; value = d * scale * code - dmin * min.
// Threads: plain data and pure functions; host and device.

#include <cstdint>

#include "tensor/half.h"
#include "tensor/quant/codes.h"
#include "tensor/quant/k-scales.h"
#include "tensor/quant/rounding.h"

namespace millrace {

struct Q4K : Coded<CodeShape{.values = 256, .sub = 32, .levels = 16, .has_offset = true}> {
  uint16_t d;
  uint16_t dmin;
  uint8_t scales[12];
  uint8_t qs[128];  // per quarter of 64: byte l holds value l in the low bits, l + 32 in the high
};

constexpr void split(const Q4K& block, BlockCodes& out) {
  out.d = f16_to_f32(block.d);
  out.dmin = f16_to_f32(block.dmin);
  split_k_scales(block.scales, out);
  for (int q = 0; q < 4; ++q) split_nibbles(block.qs + 32 * q, 32, out.code + 64 * q);
  scale_codes<Q4K>(out);
}

constexpr void join(const BlockCodes& codes, Q4K& out) {
  out.d = f32_to_f16(codes.d);
  out.dmin = f32_to_f16(codes.dmin);
  join_k_scales(codes, out.scales);
  for (int q = 0; q < 4; ++q) join_nibbles(codes.code + 64 * q, 32, out.qs + 32 * q);
}

constexpr void encode(const float* x, Q4K& out) {
  BlockCodes codes{};
  choose_ranged_scales<Q4K>(x, 63, codes);
  choose_codes<Q4K>(x, codes);
  join(codes, out);
}

}  // namespace millrace
