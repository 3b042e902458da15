// The products of F16 and BF16 by integers of 16 bits, about twice as fast as by f32 and as exact as
// if the input were rounded to f16 (see packed.h). With the input of each 32 columns as q * scale,
//   sum = the sum of code * q          an exact integer, per 32 columns
//   part = fma(sum, scale, part)       in order of K, within a unit of 256
//   out = fma(part, d, out)            unit by unit

// Per 256 columns, or what is left of them, an f32 per row; then the codes.
struct WideUnits {
  static constexpr int k_blocks = k_super_cols / k_block_cols;
  static constexpr int k_steps = k_block_cols / 2;
  static constexpr int k_code_bytes = k_steps * k_plane_bytes;  // of a block
  static constexpr int k_scales = sizeof(float) * k_group_rows;
  static constexpr int k_unit_bytes = k_scales + k_blocks * k_code_bytes;
  static const uint8_t* unit_at(const uint8_t* group, int block) {
    return group + block / k_blocks * k_unit_bytes;
  }
  static const uint8_t* codes_at(const uint8_t* group, int block) {
    return unit_at(group, block) + k_scales + block % k_blocks * k_code_bytes;
  }
};

// 32 columns of one token's input: a direction of length k_most_inputs in whole numbers, and what
// makes it the input.
struct WideBlock {
  int16_t q[k_block_cols];
  float scale;
};

// The length is taken in one order of additions, whatever the width. What is shorter than 1e-18 is
// zero; longer than 1e18 is not finite, and then no product is.
void quantize(const float* x, WideBlock& out) {
  constexpr int k_parts = k_block_cols / V::k_width;
  F32 v[k_parts], squares = V::zero();
  for (int i = 0; i < k_parts; i++) v[i] = V::load(x + i * V::k_width);
  for (int i = 0; i < k_parts / 2; i++) {
    const F32 high = v[i + k_parts / 2];
    squares = V::add(squares, V::fma(high, high, V::mul(v[i], v[i])));
  }
  const float sum = V::sum(squares);
  const float length = sum < 1e-36f ? 0 : std::sqrt(sum);
  const F32 inverse = V::splat(length == 0 ? 0 : k_most_inputs / length);
  for (int i = 0; i < k_parts; i++)
    V::store_i16(out.q + i * V::k_width, V::to_i32(V::mul(v[i], inverse)));
  out.scale = length / k_most_inputs;
}

// G groups for T tokens: x[block][T].
template <int G, int T>
void tile_wide(const Strip* strips, const WideBlock* x) {
  F32 sums[G][k_halves][T];
  for (int g = 0; g < G; g++) load_sums(strips[g], sums[g]);
  for (int first = 0; first < strips[0].blocks; first += WideUnits::k_blocks) {
    const int end = std::min(first + WideUnits::k_blocks, strips[0].blocks);
    const V::i32 none = V::splat_i32(0);
    F32 part[G * k_halves][T];
    for (auto& half : part)
      for (F32& token : half) token = V::zero();
    for (int b = first; b < end; b++) {
      const uint8_t* codes[G];
      for (int g = 0; g < G; g++) {
        codes[g] = WideUnits::codes_at(strips[g].weights, b);
        if (T > 2) continue;
        if constexpr (V::k_prefetches_all) {
          for (int i = 0; i < WideUnits::k_code_bytes; i += 64) prefetch_line(codes[g] + i);
        } else {
          V::prefetch_far(codes[g] + 3072);
        }
      }
      const auto code = [&](int h, int s) __attribute__((always_inline)) {
        return V::load_bytes(codes[h / k_halves] + s * k_plane_bytes + h % k_halves * V::k_bytes);
      };
      const auto init = [&](int) __attribute__((always_inline)) { return none; };
      const auto done = [&](int h, int t, V::i32 sum) __attribute__((always_inline)) {
        part[h][t] = V::fma(V::to_f32(sum), V::splat(x[b * T + t].scale), part[h][t]);
      };
      V::template dot<16, WideUnits::k_steps, G * k_halves, T>(
          code, reinterpret_cast<const int8_t*>(x[b * T].q), sizeof *x, init, done);
    }
    for (int g = 0; g < G; g++)
      for (int h = 0; h < k_halves; h++) {
        const uint8_t* unit = WideUnits::unit_at(strips[g].weights, first);
        const F32 d = V::load(reinterpret_cast<const float*>(unit) + h * V::k_width);
#pragma GCC unroll 16
        for (int t = 0; t < T; t++)
          sums[g][h][t] = V::fma(part[g * k_halves + h][t], d, sums[g][h][t]);
      }
  }
  for (int g = 0; g < G; g++) store_sums(strips[g], sums[g]);
}
