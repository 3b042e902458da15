#pragma once
// Q5_K: 256 values of 5 bits in subs of 32; value = d * scale * code - dmin * min.
// Threads: plain data and pure functions; host and device.

#include <cstdint>

#include "tensor/half.h"
#include "tensor/quant/codes.h"
#include "tensor/quant/k-scales.h"
#include "tensor/quant/rounding.h"

namespace millrace {

struct Q5K : Coded<CodeShape{.values = 256, .sub = 32, .levels = 32, .has_offset = true}> {
  uint16_t d;
  uint16_t dmin;
  uint8_t scales[12];
  uint8_t qh[32];   // bit s of byte l: the fifth bit of value 32 * s + l
  uint8_t qs[128];  // per quarter of 64: byte l holds value l in the low bits, l + 32 in the high
};

constexpr void split(const Q5K& block, BlockCodes& out) {
  out.d = f16_to_f32(block.d);
  out.dmin = f16_to_f32(block.dmin);
  split_k_scales(block.scales, out);
  for (int q = 0; q < 4; ++q) split_nibbles(block.qs + 32 * q, 32, out.code + 64 * q);
  for (int i = 0; i < 256; ++i) out.code[i] |= ((block.qh[i % 32] >> (i / 32)) & 1) << 4;
  scale_codes<Q5K>(out);
}

constexpr void join(const BlockCodes& codes, Q5K& out) {
  out.d = f32_to_f16(codes.d);
  out.dmin = f32_to_f16(codes.dmin);
  join_k_scales(codes, out.scales);
  for (int i = 0; i < 32; ++i) out.qh[i] = 0;
  for (int i = 0; i < 256; ++i)
    out.qh[i % 32] |= static_cast<uint8_t>((codes.code[i] >> 4) << (i / 32));
  for (int q = 0; q < 4; ++q) join_nibbles(codes.code + 64 * q, 32, out.qs + 32 * q);
}

constexpr void encode(const float* x, Q5K& out) {
  BlockCodes codes{};
  choose_ranged_scales<Q5K>(x, 63, codes);
  choose_codes<Q5K>(x, codes);
  join(codes, out);
}

}  // namespace millrace
