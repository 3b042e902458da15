#pragma once
// Packed weights to the A fragments and scales of mma.sync; packed.h says how they lie.

#include "ops/cuda/packed.h"
#include "ops/cuda/platform.h"

namespace millrace::cuda {

// A lane's share of the codes of 16 x 64: loads of 16 bytes.
template <class Form>
struct Raw {
  static constexpr Packing packing = Form::packing;
  static constexpr int k_loads = static_cast<int>(packing.code_bytes()) / (16 * k_warp);
  uint4 loads[k_loads];

  __device__ __forceinline__ void load(const char* codes) {
    const auto* from = reinterpret_cast<const uint4*>(codes) + lane_of_thread();
#pragma unroll
    for (int i = 0; i < k_loads; ++i) loads[i] = from[i * k_warp];
  }
};

__device__ __forceinline__ uint32_t word_of(const uint4& load, int i) {
  return i == 0 ? load.x : i == 1 ? load.y : i == 2 ? load.z : load.w;
}

constexpr uint32_t k_f16_1024 = 0x64006400u;  // 1024 twice: its last bit is worth 1
constexpr uint32_t pair_of_1024_and(int n) {
  return k_f16_1024 + 0x00010001u * static_cast<uint32_t>(n);
}

// The A fragment of one step of 16 columns, levels as f16 (or the halves as they are).
template <class Form>
__device__ __forceinline__ void unpack(const Raw<Form>& raw, int step, uint32_t (&a)[4]) {
  constexpr Packing packing = Form::packing;
  if constexpr (packing.codes == Codes::halves) {
#pragma unroll
    for (int r = 0; r < 4; ++r) a[r] = word_of(raw.loads[step], r);
  } else if constexpr (packing.codes == Codes::bytes) {
    constexpr uint32_t zero = pair_of_1024_and(k_byte_zero);
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const uint32_t word = word_of(raw.loads[step / 2], step % 2 * 2 + r / 2) >> (r % 2 * 16);
      const uint32_t bytes = (word & 0xffu) | (word & 0xff00u) << 8;
      a[r] = subtract_pairs(k_f16_1024 | bytes, zero);
    }
  } else {
    constexpr uint32_t zero = pair_of_1024_and(packing.nibble_zero);
    const uint32_t word = word_of(raw.loads[0], step);
#pragma unroll
    for (int r = 0; r < 4; ++r)
      a[r] = subtract_pairs(k_f16_1024 | ((word >> (4 * r)) & 0x000f000fu), zero);
  }
}

// Scale and offset of one row under one sub of a tile.
struct Scale {
  float scale, offset;
};

template <class Form>
__device__ __forceinline__ Scale scale_of(const char* scales, int sub, int row, bool is_bf16) {
  constexpr Packing packing = Form::packing;
  constexpr int subs = packing.tile / packing.sub;
  const auto value = [is_bf16](uint16_t bits) {
    return is_bf16 ? bf16_as_f32(bits) : f32_of_f16(bits);
  };
  Scale found{0, 0};
  if constexpr (packing.k_type) {
    const auto* super =
        reinterpret_cast<const uint16_t*>(scales + subs * k_band * (packing.offset ? 2 : 1));
    const auto* of_subs = reinterpret_cast<const int8_t*>(scales);
    found.scale = f32_of_f16(super[row]) * static_cast<float>(of_subs[sub * k_band + row]);
    if constexpr (packing.offset)
      found.offset = f32_of_f16(super[k_band + row]) *
                     static_cast<float>(of_subs[(subs + sub) * k_band + row]);
  } else {
    const auto* d = reinterpret_cast<const uint16_t*>(scales);
    found.scale = value(d[sub * k_band + row]);
    if constexpr (packing.offset) found.offset = value(d[(subs + sub) * k_band + row]);
  }
  return found;
}

}  // namespace millrace::cuda
