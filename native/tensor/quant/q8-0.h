#pragma once
// Q8_0: 32 values of 8 bits with one f16 scale; value = d * q. A code is q + 128.
// Threads: plain data and pure functions; host and device.

#include <cstdint>

#include "tensor/half.h"
#include "tensor/quant/codes.h"
#include "tensor/quant/rounding.h"

namespace millrace {

struct Q80 : Coded<CodeShape{.values = 32, .sub = 32, .levels = 256, .zero = 128}> {
  uint16_t d;
  int8_t qs[32];
};

constexpr void split(const Q80& block, BlockCodes& out) {
  for (int i = 0; i < 32; ++i) out.code[i] = static_cast<uint8_t>(block.qs[i] + 128);
  scale_once<Q80>(out, f16_to_f32(block.d), 0.0f);
}

constexpr void join(const BlockCodes& codes, Q80& out) {
  out.d = f32_to_f16(codes.d);
  for (int i = 0; i < 32; ++i) out.qs[i] = static_cast<int8_t>(codes.code[i] - 128);
}

constexpr void encode(const float* x, Q80& out) {
  const float top = extreme(x, 32);
  BlockCodes codes{};
  scale_once<Q80>(codes, through_f16((top < 0 ? -top : top) / 127.0f), 0.0f);
  choose_codes<Q80>(x, codes);
  join(codes, out);
}

}  // namespace millrace
