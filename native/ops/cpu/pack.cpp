#include "ops/cpu/packed.h"

#include <algorithm>
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
  constexpr int k_low = low_bits(Bits);
  if constexpr (Bits < 8 && Bits > k_low) {
    store_planes<Bits - k_low, k_low>(steps, out);
    out += (Bits - k_low) * k_plane_bytes;
  }
  if constexpr (Bits < 8) store_planes<k_low, 0>(steps, out);
}

// A block whose codes are nibbles, those of values 32 apart in a byte (Q4_K) or 16 apart, as steps
// t and t + 4 of a plane are.
template <class Block, DType Type>
void store_nibbles(const Block& block, int row, uint8_t* out) {
  constexpr Word k_mask = 0x0f0f0f0fu;
  out += 4 * row;
  for (int i = 0; i < Block::k_values; i += k_block_cols)
    for (int t = 0; t < 4; t++, out += k_plane_bytes) {
      Word word = load_word(block.qs + i / 2 + 4 * t);
      if constexpr (Type == DType::q4_k) {
        const uint8_t* quarter = block.qs + i / 64 * 32 + 4 * t;
        const int from = i % 64 / 32 * 4;
        word = ((load_word(quarter) >> from) & k_mask) |
               (((load_word(quarter + 16) >> from) & k_mask) << 4);
      }
      std::memcpy(out, &word, sizeof word);
    }
}

void store_half(uint16_t half, uint8_t* out) { std::memcpy(out, &half, sizeof half); }

// The scales of one row of a unit.
template <class Block, DType Type>
void store_scales(const Block& block, const BlockCodes& codes, int row, uint8_t* out) {
  constexpr Form form = form_of(Type);
  if constexpr (form.scales == Scales::bf16) {
    store_half(f32_to_bf16(codes.d), out + 2 * row);
  } else {
    store_half(block.d, out + 2 * row);
  }
  if constexpr (form.has_min && form.scales == Scales::super)
    store_half(block.dmin, out + 2 * (k_group_rows + row));
  if constexpr (form.has_min && form.scales == Scales::f16)
    store_half(block.m, out + 2 * (k_group_rows + row));
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
    store_scales<Block, Type>(blocks[u], codes, row, group);
    uint8_t* out = group + unit_scale_bytes(form);
    if constexpr (form.bits == 4) {
      store_nibbles<Block, Type>(blocks[u], row, out);
      continue;
    }
    if constexpr (form.bits == 8)
      for (int i = 0; i < Block::k_values; i++)
        codes.code[i] = static_cast<uint8_t>(Block::level(codes.code[i]));
    for (int i = 0; i < Block::k_values; i += k_block_cols, out += form.bits * k_plane_bytes)
      store_codes<form.bits>(codes.code + i, row, out);
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
  switch (dtype) {
#define ROW(id, Block, name, gguf_id, values, bytes)        \
  case DType::id:                                           \
    if constexpr (form_of(DType::id).scales > Scales::wide) \
      pack_row<Block, DType::id>(plain, cols, row, group);  \
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
