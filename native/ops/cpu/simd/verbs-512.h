// The verbs of the vocabularies with 16 lanes of f32: AVX-512 (F, BW, VL, DQ) with VNNI. Included
// inside the region only. Every verb does the same thing in every vocabulary; algorithms (*.inl)
// are written against V. f32: k_width floats. i32: k_width ints. bytes: 4 * k_width bytes, four per
// f32 lane.

struct Verbs512 {
  static constexpr int k_width = 16;
  static constexpr int k_bytes = 4 * k_width;
  static constexpr int k_tile = 8;  // tokens that a matmul tile keeps in registers
  // Groups of rows and tokens that a product by panels keeps in registers: two groups share what is
  // loaded of an input. Zen 5: a tenth more than 8 tokens by one group, which loads bound.
  static constexpr int k_panel_groups = 2;
  static constexpr int k_panel_tile = 4;
  static constexpr int k_wide_tile = 4;       // tokens, of wide weights
  static constexpr int k_wide_groups = 3;     // of rows that share these
  static constexpr int k_direct_tokens = 32;  // up to so many, matmul reads the packed form
  static constexpr int k_direct_costly = 32;  // the same where that is costly (see is_costly)
  // Whether a product of few tokens asks for every line of its weights. Q8_0, one token, on Zen 4:
  // 24 to 27 GB/s without, 17 with.
  static constexpr bool k_prefetches_all = false;
  static constexpr int k_prefetch_bytes = 2048;   // how far ahead of its use a line is asked for
  static constexpr int k_prefetch_far_bytes = 0;  // the same into the second cache; 0: it is not
  using f32 = __m512;
  using i32 = __m512i;
  using bytes = __m512i;

  // Memory. Unaligned unless said; *_first touch the first n lanes only (0 <= n <= k_width).
  static f32 zero() { return _mm512_setzero_ps(); }
  static f32 splat(float x) { return _mm512_set1_ps(x); }
  static f32 load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, f32 v) { _mm512_storeu_ps(p, v); }
  static f32 load_first(const float* p, int n) { return _mm512_maskz_loadu_ps(first(n), p); }
  static void store_first(float* p, int n, f32 v) { _mm512_mask_storeu_ps(p, first(n), v); }
  static f32 load_f16(const void* p) { return _mm512_cvtph_ps(load_half(p)); }
  static void store_f16(void* p, f32 v) {
    _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
  static f32 load_bf16(const void* p) {
    return as_f32(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_half(p)), 16));
  }
  static f32 load_i8(const void* p) {  // k_width signed bytes, as floats
    return to_f32(_mm512_cvtepi8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))));
  }
  static f32 load_u8(const void* p) {
    return to_f32(_mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))));
  }
  // Not the intrinsic: gcc drops calls of functions that do nothing but prefetch.
  static void prefetch(const void* p) {
    asm volatile("prefetcht0 %0" : : "m"(*static_cast<const char*>(p)));
  }
  static void prefetch_far(const void* p) {  // into the second cache
    asm volatile("prefetcht1 %0" : : "m"(*static_cast<const char*>(p)));
  }

  // Arithmetic. fma(a, b, c) = a * b + c, rounded once.
  static f32 add(f32 a, f32 b) { return _mm512_add_ps(a, b); }
  static f32 sub(f32 a, f32 b) { return _mm512_sub_ps(a, b); }
  static f32 mul(f32 a, f32 b) { return _mm512_mul_ps(a, b); }
  static f32 div(f32 a, f32 b) { return _mm512_div_ps(a, b); }
  static f32 fma(f32 a, f32 b, f32 c) { return _mm512_fmadd_ps(a, b, c); }
  static f32 fmaddsub(f32 a, f32 b, f32 c) {  // even lanes a * b - c, odd lanes a * b + c
    return _mm512_fmaddsub_ps(a, b, c);
  }
  static f32 sqrt(f32 a) { return _mm512_sqrt_ps(a); }
  static f32 abs(f32 a) { return _mm512_abs_ps(a); }
  static f32 min(f32 a, f32 b) { return _mm512_min_ps(a, b); }  // b where either is NaN
  static f32 max(f32 a, f32 b) { return _mm512_max_ps(a, b); }
  static f32 round(f32 a) {  // to the nearest whole number, ties to even
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static f32 select_less(f32 a, f32 b, f32 yes, f32 no) {  // a < b ? yes : no
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
  }

  // Lanes.
  static f32 swap_pairs(f32 a) { return _mm512_permute_ps(a, 0xb1); }  // 1 0 3 2 ...
  static f32 even_pairs(f32 a) { return _mm512_moveldup_ps(a); }       // 0 0 2 2 ...
  static f32 odd_pairs(f32 a) { return _mm512_movehdup_ps(a); }        // 1 1 3 3 ...
  static float sum(f32 a) {  // one fixed order: halves, again and again
    __m256 w = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 v = _mm_add_ps(_mm256_castps256_ps128(w), _mm256_extractf128_ps(w, 1));
    v = _mm_add_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)));
  }
  static float max_of(f32 a) {
    __m256 w = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 v = _mm_max_ps(_mm256_castps256_ps128(w), _mm256_extractf128_ps(w, 1));
    v = _mm_max_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)));
  }

  // Integers in f32 lanes.
  static i32 load_i32(const int32_t* p) { return _mm512_loadu_si512(p); }
  static i32 splat_i32(int x) { return _mm512_set1_epi32(x); }
  static i32 to_i32(f32 a) { return _mm512_cvtps_epi32(a); }  // nearest, ties to even
  static f32 to_f32(i32 a) { return _mm512_cvtepi32_ps(a); }
  static f32 as_f32(i32 a) { return _mm512_castsi512_ps(a); }
  static i32 as_i32(f32 a) { return _mm512_castps_si512(a); }
  static i32 add_i32(i32 a, i32 b) { return _mm512_add_epi32(a, b); }
  static i32 sub_i32(i32 a, i32 b) { return _mm512_sub_epi32(a, b); }
  template <int N>  // shifts left
  static i32 shl_i32(i32 a) {
    return _mm512_slli_epi32(a, N);
  }
  static int sum_i32(i32 a) {  // wraps around, as the intrinsic for it does not promise
    const __m256i w = _mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
    __m128i v = _mm_add_epi32(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
    v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(v, _mm_shuffle_epi32(v, 0xb1)));
  }
  static void store_i8(void* p, i32 a) {  // k_width values, each already within a signed byte
    _mm_storeu_si128(static_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a));
  }
  static void store_i16(void* p, i32 a) {  // k_width values, each already within 16 bits
    _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtepi32_epi16(a));
  }

  // Bytes. Shifts move 16-bit lanes, by a constant once unrolled: mask afterwards.
  static bytes load_bytes(const void* p) { return _mm512_loadu_si512(p); }
  static void store_bytes(void* p, bytes v) { _mm512_storeu_si512(p, v); }
  static bytes splat_byte(int x) { return _mm512_set1_epi8(static_cast<char>(x)); }
  static bytes sub_bytes(bytes a, bytes b) { return _mm512_sub_epi8(a, b); }
  static bytes bits_and(bytes a, bytes b) { return _mm512_and_si512(a, b); }
  static bytes bits_or(bytes a, bytes b) { return _mm512_or_si512(a, b); }
  [[gnu::always_inline]] static bytes shift_right(bytes a, int n) {
    return _mm512_srli_epi16(a, n);
  }
  [[gnu::always_inline]] static bytes shift_left(bytes a, int n) { return _mm512_slli_epi16(a, n); }
  static bytes load_table(const void* p) {  // 16 bytes, for lookup
    return _mm512_broadcast_i32x4(_mm_loadu_si128(static_cast<const __m128i*>(p)));
  }
  static bytes lookup(bytes table, bytes index) { return _mm512_shuffle_epi8(table, index); }

  // Signed bytes become the form that dot<8> reads: here value + 128, so dot<8> has that zero
  // point.
  static constexpr int k_zero8_log2 = 7;
  static constexpr int k_zero8 = 128;
  static bytes from_signed(bytes a) { return _mm512_xor_si512(a, splat_byte(0x80)); }

  static bytes four(const int8_t* x) {
    int word;
    memcpy(&word, x, sizeof word);
    return _mm512_set1_epi32(word);
  }
  static void dot4(i32& sum, bytes codes, bytes x) { sum = _mm512_dpbusd_epi32(sum, codes, x); }
  static void dot2(i32& sum, bytes codes, bytes x) { sum = _mm512_dpwssd_epi32(sum, codes, x); }

 private:
  static __m256i load_half(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
  }
  static __mmask16 first(int n) { return static_cast<__mmask16>((1u << n) - 1); }
};
