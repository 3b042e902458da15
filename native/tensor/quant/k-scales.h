#pragma once
// The 12 bytes in which Q4_K and Q5_K keep 8 scales and 8 minimums of 6 bits.
// Threads: pure functions; host and device.

#include <cstdint>

#include "tensor/quant/codes.h"

namespace millrace {

// Subs 0 to 3: scale in the low 6 bits of byte s, min in those of byte s + 4. Subs 4 to 7: low
// nibbles of both in byte s + 4, their upper two bits in the spare bits of bytes s - 4 and s.
constexpr void split_k_scales(const uint8_t* bytes, BlockCodes& out) {
  for (int s = 0; s < 4; ++s) {
    out.sub_scale[s] = bytes[s] & 63;
    out.sub_min[s] = bytes[s + 4] & 63;
    out.sub_scale[s + 4] = static_cast<int16_t>((bytes[s + 8] & 15) | ((bytes[s] >> 6) << 4));
    out.sub_min[s + 4] = static_cast<int16_t>((bytes[s + 8] >> 4) | ((bytes[s + 4] >> 6) << 4));
  }
}

constexpr void join_k_scales(const BlockCodes& codes, uint8_t* bytes) {
  for (int s = 0; s < 4; ++s) {
    const int scale = codes.sub_scale[s + 4], min = codes.sub_min[s + 4];
    bytes[s] = static_cast<uint8_t>(codes.sub_scale[s] | ((scale >> 4) << 6));
    bytes[s + 4] = static_cast<uint8_t>(codes.sub_min[s] | ((min >> 4) << 6));
    bytes[s + 8] = static_cast<uint8_t>((scale & 15) | ((min & 15) << 4));
  }
}

}  // namespace millrace
