// The vocabulary of 64-bit ARM with products of 8-bit matrices: where two inputs or more are at
// hand, one instruction multiplies eight bytes of two rows with eight bytes of two inputs, twice as
// many products as a dot product has. Included inside the region only, after verbs-neon.h and
// dot.h.

struct V : VerbsNeon {
  static constexpr const char* k_name = "neon-i8mm";

  // The sum of products as dot.h says it.
  template <int Bits, int Steps, int H, int T, class W, class Init, class Done>
  [[gnu::always_inline]] static void dot(W w, const int8_t* x, int stride, Init init, Done done) {
    if constexpr (T % 2 == 0 && Bits < 16)
      by_pairs<Steps, H, T>(w, x, stride, init, done);
    else
      DotByFours<V>::template dot<Bits, Steps, H, T>(w, x, stride, init, done);
  }

 private:
  // Four pairs of rows for two inputs: rows r and r + 1, inputs t and t + 1 as [r t, r t + 1,
  // r + 1 t, r + 1 t + 1].
  struct Sums {
    int32x4_t pairs[4];
  };

  template <int Steps, int H, int T, class W, class Init, class Done>
  [[gnu::always_inline]] static void by_pairs(W w, const int8_t* x, int stride, Init init,
                                              Done done) {
    static_assert(Steps % 2 == 0);
    Sums sums[H][T / 2];
#pragma GCC unroll 4
    for (int t = 0; t < T; t += 2)
#pragma GCC unroll 2
      for (int h = 0; h < H; h++) sums[h][t / 2] = interleaved(init(t), init(t + 1));
#pragma GCC unroll 4
    for (int s = 0; s < Steps; s += 2)
#pragma GCC unroll 2
      for (int h = 0; h < H; h++) {
        const bytes first = w(h, s), second = w(h, s + 1);
        const int8x16_t rows[4] = {
            eights_low(first.low, second.low), eights_high(first.low, second.low),
            eights_low(first.high, second.high), eights_high(first.high, second.high)};
#pragma GCC unroll 4
        for (int t = 0; t < T; t += 2) {
          const int8_t* from = x + t * stride + 4 * s;
          const int8x16_t two = vcombine_s8(vld1_s8(from), vld1_s8(from + stride));
#pragma GCC unroll 4
          for (int p = 0; p < 4; p++) multiply(sums[h][t / 2].pairs[p], rows[p], two);
        }
      }
#pragma GCC unroll 4
    for (int t = 0; t < T; t += 2)
#pragma GCC unroll 2
      for (int h = 0; h < H; h++) {
        const int32x4_t* p = sums[h][t / 2].pairs;
        done(h, t, i32{vuzp1q_s32(p[0], p[1]), vuzp1q_s32(p[2], p[3])});
        done(h, t + 1, i32{vuzp2q_s32(p[0], p[1]), vuzp2q_s32(p[2], p[3])});
      }
  }

  static Sums interleaved(i32 a, i32 b) {
    return {{vzip1q_s32(a.low, b.low), vzip2q_s32(a.low, b.low), vzip1q_s32(a.high, b.high),
             vzip2q_s32(a.high, b.high)}};
  }
  // Eight bytes of each of two rows, from four of each of four: rows 0 and 1, or 2 and 3.
  static int8x16_t eights_low(uint8x16_t first, uint8x16_t second) {
    return vreinterpretq_s8_s32(
        vzip1q_s32(vreinterpretq_s32_u8(first), vreinterpretq_s32_u8(second)));
  }
  static int8x16_t eights_high(uint8x16_t first, uint8x16_t second) {
    return vreinterpretq_s8_s32(
        vzip2q_s32(vreinterpretq_s32_u8(first), vreinterpretq_s32_u8(second)));
  }
  // Written out for the reasons that VerbsNeon gives.
  static void multiply(int32x4_t& sum, int8x16_t rows, int8x16_t inputs) {
    asm(".arch armv8.2-a+i8mm\n\tsmmla %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(rows), "w"(inputs));
  }
};
