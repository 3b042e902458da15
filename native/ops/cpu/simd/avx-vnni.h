// The vocabulary of AVX-VNNI, for processors that have it without AVX-512: AVX2 with products of
// four bytes in one instruction. Included inside the region only, after verbs-256.h and dot.h.

struct V : Verbs256, DotByFours<V> {
  static constexpr const char* k_name = "avx-vnni";
  static constexpr bool k_prefetches_all = false;  // no such machine was measured

  // Signed bytes become the form that dot<8> reads: here value + 128, so dot<8> has that zero
  // point.
  static constexpr int k_zero8_log2 = 7;
  static constexpr int k_zero8 = 128;
  static bytes from_signed(bytes a) { return _mm256_xor_si256(a, splat_byte(0x80)); }

  static void dot4(i32& sum, bytes codes, bytes x) { sum = _mm256_dpbusd_avx_epi32(sum, codes, x); }
  static void dot2(i32& sum, bytes codes, bytes x) { sum = _mm256_dpwssd_avx_epi32(sum, codes, x); }
};
