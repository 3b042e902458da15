// The vocabulary of AVX-512 with VNNI and BF16. Included inside the region only, after verbs-512.h,
// dot.h and no-matrices.h.

struct V : Verbs512, DotByFours<V>, NoMatrices {
  static constexpr const char* k_name = "avx512-bf16";
  static constexpr bool k_has_bf16_pairs = true;
  using pairs = __m512bh;  // of a row per lane: columns k, k + 1

  // 16 values of column k, then of k + 1.
  static pairs load_bf16_pairs(const void* p) {
    alignas(64) static constexpr Order k_order;
    return (pairs)_mm512_permutexvar_epi16(_mm512_load_si512(&k_order), _mm512_loadu_si512(p));
  }
  // sum + w * x, of two values in the same order. Denormals are zeros.
  static f32 dot_bf16(pairs w, uint32_t x, f32 sum) {
    return _mm512_dpbf16_ps(sum, w, (pairs)_mm512_set1_epi32(static_cast<int>(x)));
  }
  static void store_bf16(void* p, f32 v) {  // to the nearest, ties to even
    _mm256_storeu_si256(static_cast<__m256i*>(p), (__m256i)_mm512_cvtneps_pbh(v));
  }

 private:
  struct Order {
    uint16_t at[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                       8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  };
};
