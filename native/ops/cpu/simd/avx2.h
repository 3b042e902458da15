// The vocabulary of AVX2: products of bytes by way of 16-bit sums. Included inside the region only,
// after verbs-256.h and dot.h.

struct V : Verbs256 {
  static constexpr const char* k_name = "avx2";
  // Whether a product of few tokens asks for every line of its weights. Zen 3, one thread, one
  // token, GB/s without and with: Q4_0 8 and 13, Q4_K 5 and 12, Q6_K 5 and 13, Q8_0 10 and 14.
  static constexpr bool k_prefetches_all = true;

  // Signed bytes become the form that dot<8> reads: here they stay signed, dot<8> takes no zero
  // point.
  static constexpr int k_zero8_log2 = -1;
  static constexpr int k_zero8 = 0;
  static bytes from_signed(bytes a) { return a; }

  // The sum of products as dot.h says it, exact: 16-bit sums are widened before Bits could overflow
  // them.
  template <int Bits, int Steps, int H, int T, class W, class Init, class Done>
  [[gnu::always_inline]] static void dot(W w, const int8_t* x, int stride, Init init, Done done) {
    if constexpr (Bits == 16)
      return DotByFours<V>::template dot<Bits, Steps, H, T>(w, x, stride, init, done);
    constexpr int k_run = std::min(Steps, Bits <= 4 ? 8 : Bits == 5 ? 4 : Bits == 6 ? 2 : 1);
    static_assert(Steps % k_run == 0);
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sums[H][T], run[H][T];
    const auto widen = [&](int h, int t, bool first) __attribute__((always_inline)) {
      sums[h][t] =
          _mm256_add_epi32(_mm256_madd_epi16(run[h][t], ones), first ? init(t) : sums[h][t]);
      keep_order(sums[h][t]);
    };
#pragma GCC unroll 8
    for (int s = 0; s < Steps; s++) {
      __m256i codes[H];
#pragma GCC unroll 2
      for (int h = 0; h < H; h++) codes[h] = w(h, s);
#pragma GCC unroll 8
      for (int t = 0; t < T; t++) {
        const __m256i v = four(x + t * stride + 4 * s);
#pragma GCC unroll 2
        for (int h = 0; h < H; h++) {
          const __m256i product = pairs<Bits>(codes[h], v);
          run[h][t] = s % k_run == 0 ? product : _mm256_add_epi16(run[h][t], product);
          keep_order(run[h][t]);
          if (k_run < Steps && (s + 1) % k_run == 0) widen(h, t, s < k_run);
        }
      }
    }
#pragma GCC unroll 8
    for (int t = 0; t < T; t++)
#pragma GCC unroll 2
      for (int h = 0; h < H; h++) {
        if (k_run == Steps) widen(h, t, true);
        done(h, t, sums[h][t]);
      }
  }

  static void dot2(i32& sum, bytes codes, bytes x) {
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(codes, x));
    keep_order(sum);
  }

 private:
  // Stops the compiler from regrouping a chain of additions into a tree that does not fit
  // registers.
  static void keep_order(__m256i& sum) { asm("" : "+x"(sum)); }
  template <int Bits>
  static __m256i pairs(__m256i w, __m256i x) {
    if constexpr (Bits < 8) return _mm256_maddubs_epi16(w, x);
    return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
  }
};
