#include "ops/cpu/packed.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace millrace {
namespace {

using Word = uint32_t;  // four codes of one row: one step

Word load_word(const uint8_t* p) {
  Word word;
  std::memcpy(&word, p, sizeof word);
  return word;
}

// `Bits` bits of every code from position From, as a word per step, into the planes of one row.
template <int Bits, int From>
void store_planes(const Word* steps, uint8_t* planes) {
  constexpr int k_planes = Bits;  // eight steps of Bits bits in bytes of eight
  constexpr Word k_mask = 0x01010101u * ((1u << Bits) - 1);
  for (int t = 0; t < k_planes; t++) {
    Word word = 0;
    for (int i = 0; t + i * k_planes < 8; i++)
      word |= ((steps[t + i * k_planes] >> From) & k_mask) << (i * Bits);
    std::memcpy(planes + t * k_plane_bytes, &word, sizeof word);
  }
}

// 32 codes of one row into the planes of a block.
template <int Bits>
void store_codes(const uint8_t* codes, int row, uint8_t* out) {
  Word steps[8];
  for (int s = 0; s < 8; s++) steps[s] = load_word(codes + 4 * s);
  out += 4 * row;
  if constexpr (Bits == 8)
    for (int s = 0; s < 8; s++) std::memcpy(out + s * k_plane_bytes, &steps[s], sizeof(Word));
  if constexpr (Bits >= 4 && Bits <= 6) store_planes<4, 0>(steps, out);
  if constexpr (Bits == 2 || Bits == 3) store_planes<2, 0>(steps, out);
  if constexpr (Bits == 3) store_planes<1, 2>(steps, out + 2 * k_plane_bytes);
  if constexpr (Bits == 5) store_planes<1, 4>(steps, out + 4 * k_plane_bytes);
  if constexpr (Bits == 6) store_planes<2, 4>(steps, out + 4 * k_plane_bytes);
}

void store_half(uint16_t half, uint8_t* out) { std::memcpy(out, &half, sizeof half); }

// The scales of one row of a unit.
template <class Block, DType Type>
void store_scales(const BlockCodes& codes, int row, uint8_t* out) {
  constexpr Form form = form_of(Type);
  if constexpr (form.scales == Scales::bf16) {
    store_half(f32_to_bf16(codes.d), out + 2 * row);
  } else {
    store_half(f32_to_f16(codes.d), out + 2 * row);
  }
  if constexpr (form.has_min)
    store_half(f32_to_f16(form.scales == Scales::super ? codes.dmin : -codes.dmin),
               out + 2 * (k_group_rows + row));
  if constexpr (form.scales == Scales::super) {
    uint8_t* bytes = out + (form.has_min ? 4 : 2) * k_group_rows + row;
    for (int s = 0; s < k_subs<Block>; s++) {
      bytes[s * k_group_rows] = static_cast<uint8_t>(codes.sub_scale[s]);
      if (form.has_min)
        bytes[(k_subs<Block> + s) * k_group_rows] = static_cast<uint8_t>(codes.sub_min[s]);
    }
  }
}

template <class Block, DType Type>
void pack_row(const uint8_t* plain, int cols, int row, uint8_t* group) {
  constexpr Form form = form_of(Type);
  const Block* blocks = reinterpret_cast<const Block*>(plain);
  for (int u = 0; u < cols / Block::k_values; u++, group += unit_bytes(form)) {
    BlockCodes codes;
    split(blocks[u], codes);
    if constexpr (form.bits == 8)
      for (int i = 0; i < Block::k_values; i++)
        codes.code[i] = static_cast<uint8_t>(Block::level(codes.code[i]));
    store_scales<Block, Type>(codes, row, group);
    uint8_t* out = group + unit_scale_bytes(form);
    for (int i = 0; i < Block::k_values; i += k_block_cols, out += form.bits * k_plane_bytes)
      store_codes<form.bits>(codes.code + i, row, out);
  }
}

// The power of two that makes wide codes of n values, whole blocks. Not finite if one of them is
// not.
float wide_scale(const float* values, int n) {
  float most = 0, longest = 0;
  for (int i = 0; i < n; i += k_block_cols) {
    float squares[8] = {}, largest[8] = {};
    for (int j = 0; j < k_block_cols; j++) {
      const float v = std::fabs(values[i + j]);
      squares[j % 8] += v * v;
      largest[j % 8] = v < largest[j % 8] ? largest[j % 8] : v;  // NaN stays
    }
    float sum = 0;
    for (int j = 0; j < 8; j++) {
      sum += squares[j];
      most = largest[j] < most ? most : largest[j];
    }
    longest = std::max(longest, sum);
  }
  if (!std::isfinite(most) || most == 0) return most == 0 ? 1 : most;
  const float length = std::min(std::sqrt(longest), most * std::sqrt(float(k_block_cols)));
  int exponent;
  std::frexp(std::max(length / k_most_codes, most / INT16_MAX), &exponent);
  return std::ldexp(1.0f, std::max(exponent, -120));
}

// To the nearest whole number, ties to even, of less than 2^22: the last bits of the sum.
uint16_t wide_code(float v) { return static_cast<uint16_t>(std::bit_cast<Word>(v + 0x1.8p23f)); }

void pack_wide(DType dtype, const uint8_t* plain, int cols, int row, uint8_t* group) {
  constexpr int k_word_cols = 2;
  float values[k_super_cols];
  group += row * sizeof(Word);
  for (int first = 0; first < cols; first += k_super_cols) {
    const int n = std::min(k_super_cols, cols - first);
    decode_row(dtype, plain + first * sizeof(uint16_t), n, values);
    const float scale = wide_scale(values, n), inverse = 1 / scale;
    std::memcpy(group, &scale, sizeof scale);
    group += unit_scale_bytes(form_of(dtype));
    Word words[k_super_cols / k_word_cols];
    for (int i = 0; i < k_super_cols / k_word_cols; i++)
      words[i] = wide_code(values[2 * i] * inverse) |
                 Word(wide_code(values[2 * i + 1] * inverse)) << 16;
    for (int i = 0; i < n / k_word_cols; i++, group += k_plane_bytes)
      std::memcpy(group, &words[i], sizeof(Word));
  }
}

// n rows of one group, so that it is written front to back.
void pack_floats(const uint8_t* plain, int64_t row_bytes, int cols, int n, uint8_t* group) {
  const float* rows[k_group_rows];
  for (int i = 0; i < k_group_rows; i++)
    rows[i] = reinterpret_cast<const float*>(plain + (i < n ? i : 0) * row_bytes);
  float* out = reinterpret_cast<float*>(group);
  for (int k = 0; k < cols; k++, out += k_group_rows)
    for (int i = 0; i < k_group_rows; i++) out[i] = i < n ? rows[i][k] : 0;
}

// Of a type with a form of its own.
void pack_row_of(DType dtype, const uint8_t* plain, int cols, int row, uint8_t* group) {
  if (form_of(dtype).scales == Scales::wide) return pack_wide(dtype, plain, cols, row, group);
  switch (dtype) {
#define ROW(id, Block, name, gguf_id, values, bytes)       \
  case DType::id:                                          \
    if constexpr (form_of(DType::id).scales > Scales::wide) \
      pack_row<Block, DType::id>(plain, cols, row, group); \
    return;
    MILLRACE_FOR_EACH_DTYPE(ROW)
#undef ROW
  }
}

}  // namespace

size_t packed_bytes(DType dtype, int rows, int cols) {
  const Form form = form_of(dtype);
  if (dtype != DType::f32 && (form.bits == 0 || cols % unit_cols(form) != 0)) return 0;
  return size_t((rows + k_group_rows - 1) / k_group_rows) * group_bytes(dtype, cols);
}

void pack(const Weight& plain, void* packed, int first_row, int n_rows) {
  const size_t bytes = group_bytes(plain.dtype, plain.cols);
  const uint8_t* rows = static_cast<const uint8_t*>(plain.data);
  if (plain.dtype == DType::f32) {
    for (int row = first_row; row < first_row + n_rows; row += k_group_rows)
      pack_floats(rows + row * plain.row_bytes, plain.row_bytes, plain.cols,
                  std::min(k_group_rows, plain.rows - row),
                  static_cast<uint8_t*>(packed) + row / k_group_rows * bytes);
    return;
  }
  for (int row = first_row; row < first_row + n_rows; row++) {
    uint8_t* group = static_cast<uint8_t*>(packed) + row / k_group_rows * bytes;
    if (row % k_group_rows == 0 && row + k_group_rows > plain.rows) std::memset(group, 0, bytes);
    pack_row_of(plain.dtype, rows + row * plain.row_bytes, plain.cols, row % k_group_rows, group);
  }
}

}  // namespace millrace
