#pragma once
// IQ4_XS: 256 values in subs of 32 that index the levels of IQ4_NL; value = d * scale * level.
// Threads: plain data and pure functions; host and device.

#include <cstdint>

#include "tensor/half.h"
#include "tensor/quant/codes.h"
#include "tensor/quant/iq4-nl.h"
#include "tensor/quant/rounding.h"

namespace millrace {

struct Iq4Xs : Coded<CodeShape{.values = 256, .sub = 32, .levels = 16, .has_table = true}> {
  static constexpr int level(int code) { return Iq4Nl::level(code); }

  uint16_t d;
  uint16_t scales_h;    // bits 2s and 2s + 1: the upper two bits of scale s, plus 32
  uint8_t scales_l[4];  // the low nibble of scale s in half s % 2 of byte s / 2
  uint8_t qs[128];      // per sub of 32: byte l holds value l in the low bits, l + 16 in the high
};

constexpr void split(const Iq4Xs& block, BlockCodes& out) {
  out.d = f16_to_f32(block.d);
  out.dmin = 0.0f;
  for (int s = 0; s < 8; ++s) {
    const int low = (block.scales_l[s / 2] >> (s % 2 * 4)) & 15;
    const int high = (block.scales_h >> (s * 2)) & 3;
    out.sub_scale[s] = static_cast<int16_t>((low | (high << 4)) - 32);
    out.sub_min[s] = 0;
  }
  for (int s = 0; s < 8; ++s) split_nibbles(block.qs + 16 * s, 16, out.code + 32 * s);
  scale_codes<Iq4Xs>(out);
}

constexpr void join(const BlockCodes& codes, Iq4Xs& out) {
  out = Iq4Xs{};
  out.d = f32_to_f16(codes.d);
  for (int s = 0; s < 8; ++s) {
    const int scale = codes.sub_scale[s] + 32;
    out.scales_l[s / 2] |= static_cast<uint8_t>((scale & 15) << (s % 2 * 4));
    out.scales_h |= static_cast<uint16_t>((scale >> 4) << (s * 2));
  }
  for (int s = 0; s < 8; ++s) join_nibbles(codes.code + 32 * s, 16, out.qs + 16 * s);
}

constexpr void encode(const float* x, Iq4Xs& out) {
  BlockCodes codes{};
  choose_signed_scales<Iq4Xs>(x, -32, 31, codes);
  choose_codes<Iq4Xs>(x, codes);
  join(codes, out);
}

}  // namespace millrace
