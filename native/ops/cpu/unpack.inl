// From a packed group (see packed.h) to what the matmul kernels eat. A source S of weights has
//   k_bits         bits of a code as dot sees it (8: the table's own 8-bit form)
//   k_zero_log2    log2 of the code that means zero, or -1 when that code is 0
//   k_sub, k_min   codes per scale; whether values have an added minimum
//   k_share        bytes of a block with its share of what lies beside it
//   codes_at(group, block)      the codes of a block; + half * k_bytes for a half
//   step(codes, s)              four codes per lane
//   scale(group, block, j, half), min(...)   of sub-block j
// A half is k_width rows: with 16 lanes a group is one half, with 8 lanes two.

constexpr int k_halves = k_group_rows / V::k_width;
constexpr int k_steps = 8;  // of four columns, per block
using Bytes = V::bytes;
using F32 = V::f32;

// The `bits` low bits of each byte after moving position `from` to position `to`.
[[gnu::always_inline]] inline Bytes move_bits(Bytes v, int bits, int from, int to) {
  const Bytes mask = V::splat_byte(((1 << bits) - 1) << to);
  if (from > to) return V::bits_and(V::shift_right(v, from - to), mask);
  if (from < to) return V::bits_and(V::shift_left(v, to - from), mask);
  return V::bits_and(v, mask);
}

// `Bits` bits of every code of step s, at position `To`, from planes that hold just those.
template <int Bits, int To>
[[gnu::always_inline]] inline Bytes plane_bits(const uint8_t* planes, int s) {
  return move_bits(V::load_bytes(planes + s % Bits * k_plane_bytes), Bits, s / Bits * Bits, To);
}

// The codes of step s, by the bits they are stored in.
template <int Bits>
[[gnu::always_inline]] inline Bytes load_codes(const uint8_t* p, int s) {
  constexpr int k_low = low_bits(Bits);
  if constexpr (Bits == 8)
    return V::load_bytes(p + s * k_plane_bytes);
  else if constexpr (Bits == k_low)
    return plane_bits<Bits, 0>(p, s);
  else
    return V::bits_or(plane_bits<Bits - k_low, k_low>(p, s),
                      plane_bits<k_low, 0>(p + (Bits - k_low) * k_plane_bytes, s));
}

// Where the units of a type lie, and its scales: an f16 (bf16) per row and block, and a minimum
// beside it.
template <DType Type>
struct HalfUnits {
  static constexpr bool k_is_packed = true;
  static constexpr Form k_form = form_of(Type);
  static constexpr bool k_min = k_form.has_min;
  static constexpr int k_unit = unit_bytes(k_form);
  static constexpr int k_share = k_unit;
  static constexpr int k_scales = unit_scale_bytes(k_form);
  static const uint8_t* codes_at(const uint8_t* group, int block) {
    return group + block * k_unit + k_scales;
  }
  static F32 scale(const uint8_t* group, int block, int, int half) {
    const uint8_t* p = group + block * k_unit + half * 2 * V::k_width;
    if constexpr (k_form.scales == Scales::bf16) return V::load_bf16(p);
    return V::load_f16(p);
  }
  static F32 min(const uint8_t* group, int block, int, int half) {
    return V::load_f16(group + block * k_unit + 2 * k_group_rows + half * 2 * V::k_width);
  }
};

// Per 256 columns an f16, times a byte per sub-block; the minimum is subtracted.
template <DType Type>
struct SuperUnits {
  static constexpr bool k_is_packed = true;
  static constexpr Form k_form = form_of(Type);
  static constexpr bool k_min = k_form.has_min;
  static constexpr int k_unit = unit_bytes(k_form);
  static constexpr int k_scales = unit_scale_bytes(k_form);
  static constexpr int k_blocks = k_super_cols / k_block_cols;
  static constexpr int k_share = k_unit / k_blocks;
  static constexpr int k_subs = k_super_cols / k_form.sub;
  static constexpr int k_bytes_at = (k_min ? 4 : 2) * k_group_rows;  // after the f16
  static const uint8_t* codes_at(const uint8_t* group, int block) {
    return group + block / k_blocks * k_unit + k_scales +
           block % k_blocks * k_form.bits * k_plane_bytes;
  }
  static F32 scale(const uint8_t* group, int block, int j, int half) {
    const uint8_t* unit = group + block / k_blocks * k_unit;
    const uint8_t* p = unit + byte_at(block, j, half);
    return V::mul(V::load_f16(unit + half * 2 * V::k_width),
                  k_form.is_scale_signed ? V::load_i8(p) : V::load_u8(p));
  }
  static F32 min(const uint8_t* group, int block, int j, int half) {
    const uint8_t* unit = group + block / k_blocks * k_unit;
    const F32 d = V::load_f16(unit + (k_group_rows + half * V::k_width) * 2);
    const F32 m = V::load_u8(unit + byte_at(block, j, half) + k_subs * k_group_rows);
    return V::sub(V::zero(), V::mul(d, m));
  }
  static int byte_at(int block, int j, int half) {
    const int sub = block % k_blocks * (k_block_cols / k_form.sub) + j;
    return k_bytes_at + sub * k_group_rows + half * V::k_width;
  }
};

template <DType Type, bool IsSuper = form_of(Type).scales == Scales::super>
struct Units : HalfUnits<Type> {};
template <DType Type>
struct Units<Type, true> : SuperUnits<Type> {};

// Plain integer codes: 1 << ZeroLog2 is the code of 0.
template <DType Type, int ZeroLog2>
struct Integers : Units<Type> {
  static constexpr int k_bits = form_of(Type).bits;
  static constexpr int k_sub = form_of(Type).sub;
  static constexpr int k_zero_log2 = ZeroLog2;
  [[gnu::always_inline]] static Bytes step(const uint8_t* codes, int s) {
    return load_codes<k_bits>(codes, s);
  }
};

// Signed bytes.
template <DType Type>
struct SignedBytes : Integers<Type, V::k_zero8_log2> {
  [[gnu::always_inline]] static Bytes step(const uint8_t* codes, int s) {
    return V::from_signed(load_codes<8>(codes, s));
  }
};

// Four bits that index a table.
template <DType Type, class Table>
struct Looked : Units<Type> {
  static constexpr int k_bits = Table::k_bits;
  static constexpr int k_sub = form_of(Type).sub;
  static constexpr int k_zero_log2 = Table::k_zero_log2;
  [[gnu::always_inline]] static Bytes step(const uint8_t* codes, int s) {
    return V::lookup(Table::load(), load_codes<4>(codes, s));
  }
};

// The signed levels of a type.
template <class Block>
struct Levels {
  alignas(16) int8_t value[16];
  constexpr Levels(int zero) {
    for (int i = 0; i < 16; i++) value[i] = static_cast<int8_t>(Block::level(i) + zero);
  }
};

struct Iq4Table {
  static constexpr int k_bits = 8;
  static constexpr int k_zero_log2 = V::k_zero8_log2;
  static constexpr Levels<Iq4Nl> k_levels{0};
  static Bytes load() { return V::from_signed(V::load_table(k_levels.value)); }
};

// The levels of a 4-bit float are within 12: with a zero point they are codes of five bits.
struct Fp4Table {
  static constexpr int k_bits = 5;
  static constexpr int k_zero_log2 = 4;
  static constexpr Levels<Mxfp4> k_levels{1 << k_zero_log2};
  static Bytes load() { return V::load_table(k_levels.value); }
};

// Asks for the lines some way ahead of p.
[[gnu::always_inline]] inline void prefetch_line(const uint8_t* p) {
  V::prefetch(p + V::k_prefetch_bytes);
  if constexpr (V::k_prefetch_far_bytes > 0) V::prefetch_far(p + V::k_prefetch_far_bytes);
}

// Asks for a block's share of the group some way ahead, over its end into the next: all lines, or
// one, which keeps the processor's own prefetching alive across pages (see k_prefetches_all). Super
// units are two streams, scales and codes: all their lines, into the second cache (measured on Zen
// 4).
template <class S, bool AllLines>
[[gnu::always_inline]] inline void prefetch_block(const uint8_t* group, int block) {
  const uint8_t* p = group + block * S::k_share;
  if constexpr (AllLines) {
#pragma GCC unroll 9
    for (int i = 0; i < S::k_share; i += 64) prefetch_line(p + i);
  } else if constexpr (S::k_form.scales == Scales::super) {
#pragma GCC unroll 9
    for (int i = 0; i < S::k_share; i += 64) V::prefetch_far(p + 6144 + i);
  } else {
    V::prefetch_far(S::codes_at(group, block) + 3072);
  }
}

// A panel: per block, codes as dot eats them, then scales (and minima) as f32. Made by
// unpack_panel; types whose panels look the same share the kernels.
template <int Bits, int ZeroLog2, int Sub, bool HasMin>
struct Panel {
  static constexpr bool k_is_packed = false;
  static constexpr int k_bits = Bits;
  static constexpr int k_sub = Sub;
  static constexpr int k_zero_log2 = ZeroLog2;
  static constexpr bool k_min = HasMin;
  static constexpr int k_subs = k_block_cols / Sub;
  static constexpr int k_code_bytes = k_steps * k_plane_bytes;
  static constexpr int k_set_bytes = sizeof(float) * k_group_rows;
  static constexpr int k_unit = k_code_bytes + (HasMin ? 2 : 1) * k_subs * k_set_bytes;
  static const uint8_t* codes_at(const uint8_t* panel, int block) { return panel + block * k_unit; }
  [[gnu::always_inline]] static Bytes step(const uint8_t* codes, int s) {
    return V::load_bytes(codes + s * k_plane_bytes);
  }
  static F32 scale(const uint8_t* panel, int block, int j, int half) {
    return V::load(reinterpret_cast<const float*>(panel + scale_at(block, j, half)));
  }
  static F32 min(const uint8_t* panel, int block, int j, int half) {
    return V::load(reinterpret_cast<const float*>(panel + scale_at(block, k_subs + j, half)));
  }
  static int scale_at(int block, int set, int half) {
    return block * k_unit + k_code_bytes + set * k_set_bytes + half * V::k_width * 4;
  }
};
// A multiply of matrices reads signed bytes: their zero point is gone.
constexpr bool k_has_signed_panels = V::k_matrix_tokens > 0;
template <class S>
using PanelOf = Panel<S::k_bits, k_has_signed_panels ? -1 : S::k_zero_log2, S::k_sub, S::k_min>;

inline constexpr size_t k_panel_block_bytes = Panel<8, 0, 16, true>::k_unit;  // the largest

// Writes `count` blocks of a group from block `first` on as a panel.
template <class S>
void unpack_panel(const uint8_t* group, int first, int count, uint8_t* panel) {
  using P = PanelOf<S>;
  for (int b = 0; b < count; b++) {
    prefetch_block<S, true>(group, first + b);
    for (int half = 0; half < k_halves; half++) {
      const uint8_t* codes = S::codes_at(group, first + b) + half * V::k_bytes;
      uint8_t* out = panel + b * P::k_unit + half * V::k_bytes;
#pragma GCC unroll 8
      for (int s = 0; s < k_steps; s++) {
        Bytes code = S::step(codes, s);
        if constexpr (k_has_signed_panels && S::k_zero_log2 >= 0)
          code = V::sub_bytes(code, V::splat_byte(1 << S::k_zero_log2));
        V::store_bytes(out + s * k_plane_bytes, code);
      }
      for (int j = 0; j < P::k_subs; j++) {
        V::store(reinterpret_cast<float*>(panel + P::scale_at(b, j, half)),
                 S::scale(group, first + b, j, half));
        if constexpr (S::k_min)
          V::store(reinterpret_cast<float*>(panel + P::scale_at(b, P::k_subs + j, half)),
                   S::min(group, first + b, j, half));
      }
    }
  }
}

// Calls run.operator()<S>() with the source of a packed quantized type.
template <class F>
auto with_source(DType dtype, F&& run) {
  switch (dtype) {
    case DType::q4_0:
      return run.template operator()<Integers<DType::q4_0, 3>>();
    case DType::q4_1:
      return run.template operator()<Integers<DType::q4_1, -1>>();
    case DType::q5_0:
      return run.template operator()<Integers<DType::q5_0, 4>>();
    case DType::q5_1:
      return run.template operator()<Integers<DType::q5_1, -1>>();
    case DType::q2_k:
      return run.template operator()<Integers<DType::q2_k, -1>>();
    case DType::q3_k:
      return run.template operator()<Integers<DType::q3_k, 2>>();
    case DType::q4_k:
      return run.template operator()<Integers<DType::q4_k, -1>>();
    case DType::q5_k:
      return run.template operator()<Integers<DType::q5_k, -1>>();
    case DType::q6_k:
      return run.template operator()<Integers<DType::q6_k, 5>>();
    case DType::iq4_nl:
      return run.template operator()<Looked<DType::iq4_nl, Iq4Table>>();
    case DType::iq4_xs:
      return run.template operator()<Looked<DType::iq4_xs, Iq4Table>>();
    case DType::mxfp4:
      return run.template operator()<Looked<DType::mxfp4, Fp4Table>>();
    default:
      return run.template operator()<SignedBytes<DType::q8_0>>();
  }
}
