#pragma once
// IQ4_NL: 32 values of 4 bits that index 16 uneven levels, one f16 scale; value = d * level.
// Threads: plain data and pure functions; host and device.

#include <cstdint>

#include "tensor/half.h"
#include "tensor/quant/codes.h"
#include "tensor/quant/rounding.h"

namespace millrace {

struct Iq4Nl : Coded<CodeShape{.values = 32, .sub = 32, .levels = 16, .has_table = true}> {
  static constexpr int level(int code) {
    constexpr int8_t k_iq4_levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                         1,    13,   25,  38,  53,  69,  89,  113};
    return k_iq4_levels[code];
  }

  uint16_t d;
  uint8_t qs[16];  // value i in the low bits of byte i, value i + 16 in the high bits
};

constexpr void split(const Iq4Nl& block, BlockCodes& out) {
  split_nibbles(block.qs, 16, out.code);
  scale_once<Iq4Nl>(out, f16_to_f32(block.d), 0.0f);
}

constexpr void join(const BlockCodes& codes, Iq4Nl& out) {
  out.d = f32_to_f16(codes.d);
  join_nibbles(codes.code, 16, out.qs);
}

constexpr void encode(const float* x, Iq4Nl& out) {
  BlockCodes codes{};
  scale_once<Iq4Nl>(codes, through_f16(extreme(x, 32) / -127.0f), 0.0f);
  choose_codes<Iq4Nl>(x, codes);
  join(codes, out);
}

}  // namespace millrace
