#pragma once
// Q6_K: 256 values of 6 bits in subs of 16; value = d * scale * (code - 32), scale in int8.
// Threads: plain data and pure functions; host and device.

#include <cstdint>

#include "tensor/half.h"
#include "tensor/quant/codes.h"
#include "tensor/quant/rounding.h"

namespace millrace {

struct Q6K : Coded<CodeShape{.values = 256, .sub = 16, .levels = 64, .zero = 32}> {
  uint8_t ql[128];  // per half of 128: byte l < 64 holds value l in its low bits, l + 64 above
  uint8_t qh[64];   // per half: byte l < 32 holds the upper pairs of l, l + 32, l + 64, l + 96
  int8_t scales[16];
  uint16_t d;
};

constexpr void split(const Q6K& block, BlockCodes& out) {
  out.d = f16_to_f32(block.d);
  out.dmin = 0.0f;
  for (int s = 0; s < 16; ++s) {
    out.sub_scale[s] = block.scales[s];
    out.sub_min[s] = 0;
  }
  for (int r = 0; r < 8; ++r)  // runs of 32 values, four in a half
    for (int l = 0; l < 32; ++l) {
      const int low = (block.ql[r / 4 * 64 + r % 2 * 32 + l] >> (r % 4 / 2 * 4)) & 15;
      const int high = (block.qh[r / 4 * 32 + l] >> (r % 4 * 2)) & 3;
      out.code[32 * r + l] = static_cast<uint8_t>(low | (high << 4));
    }
  scale_codes<Q6K>(out);
}

constexpr void join(const BlockCodes& codes, Q6K& out) {
  out = Q6K{};
  out.d = f32_to_f16(codes.d);
  for (int s = 0; s < 16; ++s) out.scales[s] = static_cast<int8_t>(codes.sub_scale[s]);
  for (int i = 0; i < 256; ++i) {
    out.ql[i / 128 * 64 + i % 64] |=
        static_cast<uint8_t>((codes.code[i] & 15) << (i % 128 / 64 * 4));
    out.qh[i / 128 * 32 + i % 32] |=
        static_cast<uint8_t>((codes.code[i] >> 4) << (i % 128 / 32 * 2));
  }
}

constexpr void encode(const float* x, Q6K& out) {
  BlockCodes codes{};
  choose_signed_scales<Q6K>(x, -128, 127, codes);
  choose_codes<Q6K>(x, codes);
  join(codes, out);
}

}  // namespace millrace
