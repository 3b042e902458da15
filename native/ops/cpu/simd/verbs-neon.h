// What the vocabularies of 64-bit ARM share: 8 lanes of f32 in two registers, for there are 32, and
// dot products of bytes. Included inside the region only. What the verbs do is said in verbs-256.h.

struct VerbsNeon : NoMatrices {
  static constexpr int k_width = 8;
  static constexpr int k_bytes = 4 * k_width;
  static constexpr int k_tile = 4;
  static constexpr int k_panel_groups = 1;  // of rows, by panels
  static constexpr int k_panel_tile = k_tile;
  static constexpr int k_wide_tile = 4;    // tokens, of wide weights
  static constexpr int k_wide_groups = 1;  // of rows that share these
  static constexpr int k_direct_tokens = 16;
  static constexpr int k_direct_costly = 16;
  static constexpr int k_prefetch_bytes = 2048;    // how far ahead of its use a line is asked for
  static constexpr int k_prefetch_far_bytes = 0;   // the same into the second cache; 0: it is not
  static constexpr bool k_prefetches_all = false;  // no such machine was measured
  struct f32 {
    float32x4_t low, high;
  };
  struct i32 {
    int32x4_t low, high;
  };
  struct bytes {
    uint8x16_t low, high;
  };

  // Memory.
  static f32 zero() { return splat(0); }
  static f32 splat(float x) { return {vdupq_n_f32(x), vdupq_n_f32(x)}; }
  static f32 load(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4)}; }
  static void store(float* p, f32 v) {
    vst1q_f32(p, v.low);
    vst1q_f32(p + 4, v.high);
  }
  static f32 load_first(const float* p, int n) {
    float lanes[k_width] = {};
    if (n > 0) memcpy(lanes, p, static_cast<size_t>(n) * sizeof(float));
    return load(lanes);
  }
  static void store_first(float* p, int n, f32 v) {
    float lanes[k_width];
    store(lanes, v);
    if (n > 0) memcpy(p, lanes, static_cast<size_t>(n) * sizeof(float));
  }
  static f32 load_f16(const void* p) {
    const float16x8_t halves = vreinterpretq_f16_u16(load_halves(p));
    return {vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)};
  }
  static void store_f16(void* p, f32 v) {
    const float16x8_t halves = vcvt_high_f16_f32(vcvt_f16_f32(v.low), v.high);
    vst1q_u16(static_cast<uint16_t*>(p), vreinterpretq_u16_f16(halves));
  }
  static f32 load_bf16(const void* p) {
    const uint16x8_t halves = load_halves(p);
    return {vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(halves), 16)),
            vreinterpretq_f32_u32(vshll_high_n_u16(halves, 16))};
  }
  static f32 load_i8(const void* p) {
    const int16x8_t wide = vmovl_s8(vld1_s8(static_cast<const int8_t*>(p)));
    return to_f32({vmovl_s16(vget_low_s16(wide)), vmovl_high_s16(wide)});
  }
  static f32 load_u8(const void* p) {
    const uint16x8_t wide = vmovl_u8(vld1_u8(static_cast<const uint8_t*>(p)));
    return {vcvtq_f32_u32(vmovl_u16(vget_low_u16(wide))), vcvtq_f32_u32(vmovl_high_u16(wide))};
  }
  static void prefetch(const void* p) {
    asm volatile("prfm pldl1keep, %0" : : "Q"(*static_cast<const char*>(p)));
  }
  static void prefetch_far(const void* p) {
    asm volatile("prfm pldl2keep, %0" : : "Q"(*static_cast<const char*>(p)));
  }

  // Arithmetic.
  static f32 add(f32 a, f32 b) { return {vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high)}; }
  static f32 sub(f32 a, f32 b) { return {vsubq_f32(a.low, b.low), vsubq_f32(a.high, b.high)}; }
  static f32 mul(f32 a, f32 b) { return {vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high)}; }
  static f32 div(f32 a, f32 b) { return {vdivq_f32(a.low, b.low), vdivq_f32(a.high, b.high)}; }
  static f32 fma(f32 a, f32 b, f32 c) {
    return {vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)};
  }
  static f32 fmaddsub(f32 a, f32 b, f32 c) {
    const uint32x4_t sign = vreinterpretq_u32_u64(vdupq_n_u64(0x80000000u));  // of even lanes
    return fma(a, b, {flipped(c.low, sign), flipped(c.high, sign)});
  }
  static f32 sqrt(f32 a) { return {vsqrtq_f32(a.low), vsqrtq_f32(a.high)}; }
  static f32 abs(f32 a) { return {vabsq_f32(a.low), vabsq_f32(a.high)}; }
  static f32 min(f32 a, f32 b) { return select_less(a, b, a, b); }
  static f32 max(f32 a, f32 b) { return select_less(b, a, a, b); }
  static f32 round(f32 a) { return {vrndnq_f32(a.low), vrndnq_f32(a.high)}; }
  static f32 select_less(f32 a, f32 b, f32 yes, f32 no) {
    return {vbslq_f32(vcltq_f32(a.low, b.low), yes.low, no.low),
            vbslq_f32(vcltq_f32(a.high, b.high), yes.high, no.high)};
  }

  // Lanes.
  static f32 swap_pairs(f32 a) { return {vrev64q_f32(a.low), vrev64q_f32(a.high)}; }
  static f32 even_pairs(f32 a) { return {vtrn1q_f32(a.low, a.low), vtrn1q_f32(a.high, a.high)}; }
  static f32 odd_pairs(f32 a) { return {vtrn2q_f32(a.low, a.low), vtrn2q_f32(a.high, a.high)}; }
  static float sum(f32 a) {
    const float32x4_t four = vaddq_f32(a.low, a.high);
    const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
  }
  static float max_of(f32 a) { return vmaxnmvq_f32(max(a, {a.high, a.low}).low); }

  // Integers in f32 lanes.
  static i32 load_i32(const int32_t* p) { return {vld1q_s32(p), vld1q_s32(p + 4)}; }
  static i32 splat_i32(int x) { return {vdupq_n_s32(x), vdupq_n_s32(x)}; }
  static i32 to_i32(f32 a) { return {vcvtnq_s32_f32(a.low), vcvtnq_s32_f32(a.high)}; }
  static f32 to_f32(i32 a) { return {vcvtq_f32_s32(a.low), vcvtq_f32_s32(a.high)}; }
  static f32 as_f32(i32 a) { return {vreinterpretq_f32_s32(a.low), vreinterpretq_f32_s32(a.high)}; }
  static i32 as_i32(f32 a) { return {vreinterpretq_s32_f32(a.low), vreinterpretq_s32_f32(a.high)}; }
  static i32 add_i32(i32 a, i32 b) { return {vaddq_s32(a.low, b.low), vaddq_s32(a.high, b.high)}; }
  static i32 sub_i32(i32 a, i32 b) { return {vsubq_s32(a.low, b.low), vsubq_s32(a.high, b.high)}; }
  template <int N>
  static i32 shl_i32(i32 a) {
    return {vshlq_n_s32(a.low, N), vshlq_n_s32(a.high, N)};
  }
  static int sum_i32(i32 a) { return vaddvq_s32(vaddq_s32(a.low, a.high)); }
  static void store_i8(void* p, i32 a) {
    const int16x8_t wide = vcombine_s16(vmovn_s32(a.low), vmovn_s32(a.high));
    vst1_s8(static_cast<int8_t*>(p), vmovn_s16(wide));
  }
  static void store_i16(void* p, i32 a) {
    vst1q_s16(static_cast<int16_t*>(p), vcombine_s16(vmovn_s32(a.low), vmovn_s32(a.high)));
  }

  // Bytes.
  static bytes load_bytes(const void* p) {
    const auto* from = static_cast<const uint8_t*>(p);
    return {vld1q_u8(from), vld1q_u8(from + 16)};
  }
  static void store_bytes(void* p, bytes v) {
    auto* to = static_cast<uint8_t*>(p);
    vst1q_u8(to, v.low);
    vst1q_u8(to + 16, v.high);
  }
  static bytes splat_byte(int x) {
    const uint8x16_t v = vdupq_n_u8(static_cast<uint8_t>(x));
    return {v, v};
  }
  static bytes sub_bytes(bytes a, bytes b) {
    return {vsubq_u8(a.low, b.low), vsubq_u8(a.high, b.high)};
  }
  static bytes bits_and(bytes a, bytes b) {
    return {vandq_u8(a.low, b.low), vandq_u8(a.high, b.high)};
  }
  static bytes bits_or(bytes a, bytes b) {
    return {vorrq_u8(a.low, b.low), vorrq_u8(a.high, b.high)};
  }
  [[gnu::always_inline]] static bytes shift_right(bytes a, int n) { return shift_left(a, -n); }
  [[gnu::always_inline]] static bytes shift_left(bytes a, int n) {
    const int8x16_t by = vdupq_n_s8(static_cast<int8_t>(n));
    return {vshlq_u8(a.low, by), vshlq_u8(a.high, by)};
  }
  static bytes load_table(const void* p) {
    const uint8x16_t v = vld1q_u8(static_cast<const uint8_t*>(p));
    return {v, v};
  }
  static bytes lookup(bytes table, bytes index) {
    return {vqtbl1q_u8(table.low, index.low), vqtbl1q_u8(table.high, index.high)};
  }

  // Codes of fewer than eight bits are signed bytes too: dot takes no zero point.
  static constexpr int k_zero8_log2 = -1;
  static constexpr int k_zero8 = 0;
  static bytes from_signed(bytes a) { return a; }

  // For DotByFours. The instruction is written out: gcc refuses the intrinsic in a lambda, and
  // clang 14 declares it only where the whole file may use it.
  static int8x16_t four(const int8_t* x) {
    int32_t word;
    memcpy(&word, x, sizeof word);
    return vreinterpretq_s8_s32(vdupq_n_s32(word));
  }
  static void dot4(i32& sum, bytes codes, int8x16_t x) {
    dot4(sum.low, codes.low, x);
    dot4(sum.high, codes.high, x);
  }
  static void dot2(i32& sum, bytes codes, int8x16_t x) {
    dot2(sum.low, codes.low, vreinterpretq_s16_s8(x));
    dot2(sum.high, codes.high, vreinterpretq_s16_s8(x));
  }

 private:
  static void dot2(int32x4_t& sum, uint8x16_t codes, int16x8_t x) {
    const int16x8_t w = vreinterpretq_s16_u8(codes);
    sum = vaddq_s32(sum,
                    vpaddq_s32(vmull_s16(vget_low_s16(w), vget_low_s16(x)), vmull_high_s16(w, x)));
  }
  static void dot4(int32x4_t& sum, uint8x16_t codes, int8x16_t x) {
    asm(".arch armv8.2-a+dotprod\n\tsdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(codes), "w"(x));
  }
  static uint16x8_t load_halves(const void* p) {
    return vld1q_u16(static_cast<const uint16_t*>(p));
  }
  static float32x4_t flipped(float32x4_t a, uint32x4_t sign) {
    return vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(a), sign));
  }
};
