#pragma once
// A quantized block taken apart, the same way for every type. Kernels pack from it, decode is
// defined by it, encode ends in it. A Block type Q is Coded and offers
//   level(c)   the integer that code c stands for, in int8; its own where the shape has a table
//   split(const Q&, BlockCodes&)   and its inverse   join(const BlockCodes&, Q&)
// and value[i] = scale[s] * level(code[i]) - offset[s], s = i / k_sub, exact in f32 up to the one
// rounding of the subtraction: every product fits 24 bits, so fused or not gives the same bits.
// scale[s] = d * sub_scale[s] and offset[s] = dmin * sub_min[s], both exact.
// Threads: pure functions; host and device.

#include <cstdint>

namespace millrace {

struct CodeShape {
  int values;               // per block
  int sub;                  // values that share scale and offset
  int levels;               // number of codes, 4 to 256
  int zero = 0;             // the code of value 0, without a table
  bool has_offset = false;  // offset[] is used
  bool has_table = false;   // level() is a table, not code - zero
};

template <CodeShape shape>
struct Coded {
  static constexpr int k_values = shape.values;
  static constexpr int k_sub = shape.sub;
  static constexpr int k_levels = shape.levels;
  static constexpr int k_zero = shape.zero;
  static constexpr bool k_offset = shape.has_offset;
  static constexpr bool k_table = shape.has_table;
  static constexpr int level(int code) { return code - k_zero; }
};

struct BlockCodes {
  uint8_t code[256];  // k_values used
  float scale[16];    // k_values / k_sub used, as the next three
  float offset[16];
  int16_t sub_scale[16];
  int16_t sub_min[16];
  float d;
  float dmin;
};

template <class Block>
constexpr int k_subs = Block::k_values / Block::k_sub;

// Fills scale and offset from their factors.
template <class Block>
constexpr void scale_codes(BlockCodes& codes) {
  for (int s = 0; s < k_subs<Block>; ++s) {
    codes.scale[s] = codes.d * static_cast<float>(codes.sub_scale[s]);
    codes.offset[s] = Block::k_offset ? codes.dmin * static_cast<float>(codes.sub_min[s]) : 0.0f;
  }
}

// For types with one scale per block.
template <class Block>
constexpr void scale_once(BlockCodes& codes, float d, float dmin) {
  codes.d = d;
  codes.dmin = dmin;
  codes.sub_scale[0] = 1;
  codes.sub_min[0] = Block::k_offset ? 1 : 0;
  scale_codes<Block>(codes);
}

// n bytes that hold value i in the low bits of byte i, value i + n in the high bits.
constexpr void split_nibbles(const uint8_t* bytes, int n, uint8_t* codes) {
  for (int i = 0; i < n; ++i) {
    codes[i] = bytes[i] & 15;
    codes[i + n] = bytes[i] >> 4;
  }
}
constexpr void join_nibbles(const uint8_t* codes, int n, uint8_t* bytes) {  // bits above are lost
  for (int i = 0; i < n; ++i)
    bytes[i] = static_cast<uint8_t>((codes[i] & 15) | ((codes[i + n] & 15) << 4));
}

template <class Block>
constexpr void decode(const Block& block, float* out) {
  BlockCodes codes{};
  split(block, codes);
  for (int i = 0; i < Block::k_values; ++i) {
    const int s = i / Block::k_sub;
    const float product = codes.scale[s] * static_cast<float>(Block::level(codes.code[i]));
    out[i] = Block::k_offset ? product - codes.offset[s] : product;
  }
}

}  // namespace millrace
