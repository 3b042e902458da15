#pragma once
// Q2_K: 256 values of 2 bits in subs of 16; value = d * scale * code - dmin * min.
// Threads: plain data and pure functions; host and device.

#include <cstdint>

#include "tensor/half.h"
#include "tensor/quant/codes.h"
#include "tensor/quant/rounding.h"

namespace millrace {

struct Q2K : Coded<CodeShape{.values = 256, .sub = 16, .levels = 4, .has_offset = true}> {
  uint8_t scales[16];  // per sub: scale in the low 4 bits, min in the high 4
  uint8_t qs[64];      // per half of 128: byte l holds values l, l + 32, l + 64, l + 96
  uint16_t d;
  uint16_t dmin;
};

constexpr void split(const Q2K& block, BlockCodes& out) {
  out.d = f16_to_f32(block.d);
  out.dmin = f16_to_f32(block.dmin);
  for (int s = 0; s < 16; ++s) {
    out.sub_scale[s] = block.scales[s] & 15;
    out.sub_min[s] = block.scales[s] >> 4;
  }
  for (int r = 0; r < 8; ++r)  // runs of 32 values, four in a half
    for (int l = 0; l < 32; ++l)
      out.code[32 * r + l] = (block.qs[r / 4 * 32 + l] >> (r % 4 * 2)) & 3;
  scale_codes<Q2K>(out);
}

constexpr void join(const BlockCodes& codes, Q2K& out) {
  out.d = f32_to_f16(codes.d);
  out.dmin = f32_to_f16(codes.dmin);
  for (int s = 0; s < 16; ++s)
    out.scales[s] = static_cast<uint8_t>(codes.sub_scale[s] | (codes.sub_min[s] << 4));
  for (int i = 0; i < 64; ++i) out.qs[i] = 0;
  for (int i = 0; i < 256; ++i)
    out.qs[i / 128 * 32 + i % 32] |= static_cast<uint8_t>(codes.code[i] << (i % 128 / 32 * 2));
}

constexpr void encode(const float* x, Q2K& out) {
  BlockCodes codes{};
  choose_ranged_scales<Q2K>(x, 15, codes);
  choose_codes<Q2K>(x, codes);
  join(codes, out);
}

}  // namespace millrace
