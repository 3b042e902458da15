// The products of F16 and BF16 by integers of 16 bits, faster than by f32 and more exact than with
// the input rounded to f16 (see packed.h). With the input of each 64 columns as q * scale,
//   sum = the sum of code * q          an exact integer, per 64 columns
//   part = fma(sum, scale, part)       in order of K, within a unit of 256
//   out = fma(part, d, out)            unit by unit

// Per 256 columns, or what is left of them, an f32 per row; then the codes.
struct WideUnits {
  static constexpr int k_blocks = k_super_cols / k_wide_cols;
  static constexpr int k_steps = k_wide_cols / 2;
  static constexpr int k_code_bytes = k_steps * k_plane_bytes;  // of a block
  static constexpr int k_scales = sizeof(float) * k_group_rows;
  static constexpr int k_unit_bytes = k_scales + k_blocks * k_code_bytes;
  static const uint8_t* unit_at(const uint8_t* group, int block) {
    return group + block / k_blocks * k_unit_bytes;
  }
};

// 64 columns of one token's input: a direction of length k_most_inputs in whole numbers, and what
// makes it the input.
struct WideBlock {
  int16_t q[k_wide_cols];
  float scale;
};

// 32 values in vectors; load(i): those from i on.
constexpr int k_block_parts = k_block_cols / V::k_width;
struct Block32 {
  F32 part[k_block_parts];
  template <class Load>
  explicit Block32(Load load) {
    for (int i = 0; i < k_block_parts; i++) part[i] = load(i * V::k_width);
  }
  // The sum of squares, in one order whatever the width.
  float squares() const {
    F32 sums = V::zero();
    for (int i = 0; i < k_block_parts / 2; i++) {
      const F32 low = part[i], high = part[i + k_block_parts / 2];
      sums = V::add(sums, V::fma(high, high, V::mul(low, low)));
    }
    return V::sum(sums);
  }
  void store_codes(int16_t* codes, float inverse) const {
    for (int i = 0; i < k_block_parts; i++)
      V::store_i16(codes + i * V::k_width, V::to_i32(V::mul(part[i], V::splat(inverse))));
  }
};

// n columns, one block or two. An input shorter than 1e-18 is zero, one longer than 1e18 not
// finite, and then no product is.
void quantize(const float* x, int n, WideBlock& out) {
  const bool is_whole = n == k_wide_cols;
  const Block32 first([&](int i) { return V::load(x + i); });
  const Block32 second([&](int i) { return is_whole ? V::load(x + k_block_cols + i) : V::zero(); });
  const float sum = first.squares() + second.squares();
  const float length = sum < 1e-36f ? 0 : std::sqrt(sum);
  const float inverse = length == 0 ? 0 : k_most_inputs / length;
  first.store_codes(out.q, inverse);
  second.store_codes(out.q + k_block_cols, inverse);
  out.scale = length / k_most_inputs;
}

// The least power of two for the values of a unit, or NaN where one is not finite.
template <class Load>
float wide_scale(int n, Load load) {
  F32 largest = V::zero();
  float longest = 0, spoiled = 0, sum = 0;  // spoiled: NaN if one is
  for (int i = 0; i < n; i += k_block_cols) {
    const Block32 block([&](int j) { return load(i + j); });
    for (const F32& part : block.part) largest = V::max(V::abs(part), largest);
    const float squares = block.squares();
    spoiled += squares;
    sum = i % k_wide_cols == 0 ? squares : sum + squares;
    longest = std::max(longest, sum);
  }
  const float most = V::max_of(largest);
  if (std::isnan(spoiled) || most == INFINITY) return NAN;
  constexpr float k_root = 8;  // of k_wide_cols: none is longer than so many of most
  const float length = std::min(std::sqrt(longest), most * k_root);
  const float least = std::max({length / k_most_codes, most / INT16_MAX, 0x1p-120f});
  constexpr uint32_t k_fraction = 0x7fffff;
  return std::bit_cast<float>((std::bit_cast<uint32_t>(least) + k_fraction) & ~k_fraction);
}

// Some rows of a group, unit by unit.
template <DType Type>
void pack_wide_group(const Weight& plain, int first_row, int n_rows, uint8_t* group) {
  for (int first = 0; first < plain.cols; first += k_super_cols) {
    const int n = std::min(k_super_cols, plain.cols - first);
    for (int row = first_row; row < first_row + n_rows; row++) {
      const uint8_t* values = static_cast<const uint8_t*>(plain.data) + row * plain.row_bytes +
                              first * int(sizeof(uint16_t));
      const auto load = [&](int i) {
        const uint8_t* p = values + i * int(sizeof(uint16_t));
        return Type == DType::f16 ? V::load_f16(p) : V::load_bf16(p);
      };
      const float scale = wide_scale(n, load);
      int16_t codes[k_super_cols] = {};
      for (int i = 0; i < n; i += k_block_cols)
        Block32([&](int j) { return load(i + j); }).store_codes(codes + i, 1 / scale);
      uint8_t* out = group + row % k_group_rows * sizeof scale;
      memcpy(out, &scale, sizeof scale);
      out += WideUnits::k_scales;
      for (int i = 0; i < wide_blocks(n) * k_wide_cols; i += 2, out += k_plane_bytes)
        memcpy(out, codes + i, 2 * sizeof *codes);
    }
    group += WideUnits::k_unit_bytes;
  }
}

// Ops::pack: wide forms here, the others as every table packs them.
void pack_by_vectors(const Weight& plain, void* packed, int first_row, int n_rows) {
  if (form_of(plain.dtype).scales != Scales::wide) return pack(plain, packed, first_row, n_rows);
  const size_t bytes = group_bytes(plain.dtype, plain.cols);
  for (int row = first_row; row < first_row + n_rows; row += k_group_rows) {
    uint8_t* group = static_cast<uint8_t*>(packed) + row / k_group_rows * bytes;
    if (row + k_group_rows > plain.rows) memset(group, 0, bytes);
    const int n = std::min(k_group_rows, first_row + n_rows - row);
    if (plain.dtype == DType::f16)
      pack_wide_group<DType::f16>(plain, row, n, group);
    else
      pack_wide_group<DType::bf16>(plain, row, n, group);
  }
}

// A unit of G groups for T tokens: part = its blocks, x[block][T].
template <int G, int T>
[[gnu::always_inline]] inline void add_unit(const uint8_t* const (&units)[G], const WideBlock* x,
                                            int n_blocks, F32 (&part)[G * k_halves][T]) {
  for (auto& half : part)
    for (F32& token : half) token = V::zero();
  const V::i32 none = V::splat_i32(0);
  for (int b = 0; b < n_blocks; b++, x += T) {
    const int at = WideUnits::k_scales + b * WideUnits::k_code_bytes;
    if constexpr (T <= 2)
      for (int g = 0; g < G; g++) {
        if constexpr (V::k_prefetches_all)
          for (int i = 0; i < WideUnits::k_code_bytes; i += 64) prefetch_line(units[g] + at + i);
        else
          for (int i = 0; i < WideUnits::k_code_bytes; i += 1024)
            V::prefetch_far(units[g] + at + 3072 + i);
      }
    const auto code = [&](int h, int s) __attribute__((always_inline)) {
      return V::load_bytes(units[h / k_halves] + at + s * k_plane_bytes +
                           h % k_halves * V::k_bytes);
    };
    const auto init = [&](int) __attribute__((always_inline)) { return none; };
    const auto done = [&](int h, int t, V::i32 sum) __attribute__((always_inline)) {
      part[h][t] = V::fma(V::to_f32(sum), V::splat(x[t].scale), part[h][t]);
    };
    V::template dot<16, WideUnits::k_steps, G * k_halves, T>(
        code, reinterpret_cast<const int8_t*>(x->q), sizeof *x, init, done);
  }
}

// IsUnit: the strips are of one unit, and their sums are asked for when they are due.
template <int G, int T, bool IsUnit>
void tile_wide(const Strip* strips, const WideBlock* x) {
  const uint8_t* units[G];
  F32 sums[G][k_halves][T];
  for (int g = 0; g < G; g++) {
    units[g] = strips[g].weights;
    if constexpr (!IsUnit) load_sums(strips[g], sums[g]);
  }
  const int n_blocks = strips[0].blocks;
  int first = 0;
  do {
    F32 part[G * k_halves][T];
    add_unit(units, x + first * T, std::min(WideUnits::k_blocks, n_blocks - first), part);
    for (int g = 0; g < G; g++) {
      if constexpr (IsUnit) load_sums(strips[g], sums[g]);
      for (int h = 0; h < k_halves; h++) {
        const F32 d = V::load(reinterpret_cast<const float*>(units[g]) + h * V::k_width);
#pragma GCC unroll 16
        for (int t = 0; t < T; t++)
          sums[g][h][t] = V::fma(part[g * k_halves + h][t], d, sums[g][h][t]);
      }
      units[g] += WideUnits::k_unit_bytes;
    }
    first += WideUnits::k_blocks;
  } while (!IsUnit && first < n_blocks);
  for (int g = 0; g < G; g++) store_sums(strips[g], sums[g]);
}
