#pragma once
// Q3_K: 256 values of 3 bits in subs of 16; value = d * scale * (code - 4), scale -32 to 31.
// Threads: plain data and pure functions; host and device.

#include <cstdint>

#include "tensor/half.h"
#include "tensor/quant/codes.h"
#include "tensor/quant/rounding.h"

namespace millrace {

struct Q3K : Coded<CodeShape{.values = 256, .sub = 16, .levels = 8, .zero = 4}> {
  uint8_t hmask[32];   // bit b of byte l: the third bit of value 32 * b + l
  uint8_t qs[64];      // per half of 128: byte l holds values l, l + 32, l + 64, l + 96
  uint8_t scales[12];  // 16 scales of 6 bits, plus 32: low nibbles in 8 bytes, high pairs in 4
  uint16_t d;
};

constexpr void split(const Q3K& block, BlockCodes& out) {
  out.d = f16_to_f32(block.d);
  out.dmin = 0.0f;
  for (int s = 0; s < 16; ++s) {
    const int low = (block.scales[s % 8] >> (s / 8 * 4)) & 15;
    const int high = (block.scales[8 + s % 4] >> (s / 4 * 2)) & 3;
    out.sub_scale[s] = static_cast<int16_t>((low | (high << 4)) - 32);
    out.sub_min[s] = 0;
  }
  for (int r = 0; r < 8; ++r)  // runs of 32 values, four in a half
    for (int l = 0; l < 32; ++l) {
      const int low = (block.qs[r / 4 * 32 + l] >> (r % 4 * 2)) & 3;
      const int high = (block.hmask[l] >> r) & 1;
      out.code[32 * r + l] = static_cast<uint8_t>(low | (high << 2));
    }
  scale_codes<Q3K>(out);
}

constexpr void join(const BlockCodes& codes, Q3K& out) {
  out = Q3K{};
  out.d = f32_to_f16(codes.d);
  for (int s = 0; s < 16; ++s) {
    const int scale = codes.sub_scale[s] + 32;
    out.scales[s % 8] |= static_cast<uint8_t>((scale & 15) << (s / 8 * 4));
    out.scales[8 + s % 4] |= static_cast<uint8_t>((scale >> 4) << (s / 4 * 2));
  }
  for (int i = 0; i < 256; ++i) {
    out.qs[i / 128 * 32 + i % 32] |=
        static_cast<uint8_t>((codes.code[i] & 3) << (i % 128 / 32 * 2));
    out.hmask[i % 32] |= static_cast<uint8_t>((codes.code[i] >> 2) << (i / 32));
  }
}

constexpr void encode(const float* x, Q3K& out) {
  BlockCodes codes{};
  choose_signed_scales<Q3K>(x, -32, 31, codes);
  choose_codes<Q3K>(x, codes);
  join(codes, out);
}

}  // namespace millrace
