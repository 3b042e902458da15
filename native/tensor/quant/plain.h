#pragma once
// The element types that are not quantized, as blocks of one value.
// Threads: plain data and pure functions; host and device.

#include <cstdint>

#include "tensor/half.h"

namespace millrace {

struct F32 {
  static constexpr int k_values = 1;
  float value;
};
struct F16 {
  static constexpr int k_values = 1;
  uint16_t bits;
};
struct Bf16 {
  static constexpr int k_values = 1;
  uint16_t bits;
};
struct I8 {
  static constexpr int k_values = 1;
  int8_t value;
};
struct I32 {
  static constexpr int k_values = 1;
  int32_t value;
};

constexpr void decode(const F32& block, float* out) { *out = block.value; }
constexpr void decode(const F16& block, float* out) { *out = f16_to_f32(block.bits); }
constexpr void decode(const Bf16& block, float* out) { *out = bf16_to_f32(block.bits); }
constexpr void decode(const I8& block, float* out) { *out = block.value; }
constexpr void decode(const I32& block, float* out) { *out = static_cast<float>(block.value); }

constexpr void encode(const float* x, F32& block) { block.value = *x; }
constexpr void encode(const float* x, F16& block) { block.bits = f32_to_f16(*x); }
constexpr void encode(const float* x, Bf16& block) { block.bits = f32_to_bf16(*x); }

}  // namespace millrace
