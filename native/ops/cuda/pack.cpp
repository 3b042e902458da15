#include "ops/cuda/packed.h"

#include <cstring>
#include <type_traits>

#include "tensor/half.h"

namespace millrace::cuda {
namespace {

struct Place {
  int step, lane, pair, side;
};

// Where row r (of 16) and column c (of 64) stand in the fragments.
Place place_of(int row, int column) {
  const int in_step = column % 16;
  return {column / 16, row % 8 * 4 + in_step % 8 / 2, row / 8 + in_step / 8 * 2, in_step % 2};
}

void put_half(char* codes, const Place& at, uint16_t bits) {
  const int index = (at.step * 32 + at.lane) * 8 + at.pair * 2 + at.side;
  std::memcpy(codes + index * 2, &bits, 2);
}

void put_byte(char* codes, const Place& at, int level) {
  const int index = ((at.step / 2 * 32 + at.lane) * 2 + at.step % 2) * 8 + at.pair * 2 + at.side;
  codes[index] = static_cast<char>(level + k_byte_zero);
}

void put_nibble(char* codes, const Place& at, int code) {
  const int shift = at.side * 16 + at.pair * 4;
  char& byte = codes[(at.lane * 4 + at.step) * 4 + shift / 8];
  byte = static_cast<char>(static_cast<uint8_t>(byte) | (code << (shift % 8)));
}

// The 16-bit form of a block's scale: what the file holds, so nothing is rounded. MXFP4's powers
// of two need the range of bf16.
template <class Block>
uint16_t scale_bits(float value) {
  return std::is_same_v<Block, Mxfp4> ? f32_to_bf16(value) : f32_to_f16(value);
}

template <class Block>
void put_scales(char* scales, int row, int first_sub, const BlockCodes& codes) {
  constexpr Packing packing = packing_of<Block>();
  constexpr int subs = packing.tile / packing.sub;
  const auto put16 = [&](int index, uint16_t bits) { std::memcpy(scales + index * 2, &bits, 2); };
  if constexpr (!packing.k_type) {
    put16(first_sub * k_band + row, scale_bits<Block>(codes.d));
    if (packing.offset) put16((subs + first_sub) * k_band + row, scale_bits<Block>(codes.dmin));
  } else {
    for (int s = 0; s < subs; ++s) {
      scales[s * k_band + row] = static_cast<char>(codes.sub_scale[s]);
      if (packing.offset) scales[(subs + s) * k_band + row] = static_cast<char>(codes.sub_min[s]);
    }
    char* super = scales + subs * k_band * (packing.offset ? 2 : 1);
    const uint16_t d = f32_to_f16(codes.d), dmin = f32_to_f16(codes.dmin);
    std::memcpy(super + row * 2, &d, 2);
    if (packing.offset) std::memcpy(super + (k_band + row) * 2, &dmin, 2);
  }
}

template <class Block>
void pack_row(const Block* blocks, int cols, int row, char* band) {
  constexpr Packing packing = packing_of<Block>();
  constexpr int sets = packing.tile / k_columns;  // of codes in a tile
  for (int first = 0; first < cols; first += Block::k_values) {
    const int within = first % packing.tile;
    char* tile = band + static_cast<size_t>(first / packing.tile) * packing.tile_bytes();
    if constexpr (packing.codes == Codes::halves) {
      put_half(tile, place_of(row, within), blocks[first].bits);
    } else {
      BlockCodes codes{};
      split(blocks[first / Block::k_values], codes);
      for (int i = 0; i < Block::k_values; ++i) {
        const int column = within + i;
        char* set = tile + static_cast<size_t>(column / k_columns) * packing.code_bytes();
        const Place at = place_of(row, column % k_columns);
        const int level = Block::level(codes.code[i]);
        if constexpr (packing.codes == Codes::bytes)
          put_byte(set, at, level);
        else
          put_nibble(set, at, level + packing.nibble_zero);
      }
      put_scales<Block>(tile + sets * packing.code_bytes(), row, within / packing.sub, codes);
    }
  }
}

template <class Block>
size_t bytes_of(int rows, int cols) {
  constexpr Packing packing = packing_of<Block>();
  const auto bands = static_cast<size_t>((rows + k_band - 1) / k_band);
  const auto tiles = static_cast<size_t>((cols + packing.tile - 1) / packing.tile);
  return bands * tiles * packing.tile_bytes();
}

template <class Block>
void pack_rows(const Weight& plain, char* packed, int first_row, int n_rows) {
  const size_t band_bytes = bytes_of<Block>(k_band, plain.cols);
  // Padding adds nothing: its scales are 0, and x has zeros at padded columns.
  std::memset(packed + static_cast<size_t>(first_row / k_band) * band_bytes, 0,
              bytes_of<Block>(n_rows, plain.cols));
  for (int row = first_row; row < first_row + n_rows; ++row)
    pack_row(reinterpret_cast<const Block*>(static_cast<const char*>(plain.data) +
                                            row * plain.row_bytes),
             plain.cols, row % k_band, packed + static_cast<size_t>(row / k_band) * band_bytes);
}

}  // namespace

size_t packed_bytes(DType dtype, int rows, int cols) {
  switch (dtype) {
#define ROW(id, Block, name, gguf_id, values, bytes)                    \
  case DType::id:                                                       \
    if constexpr (is_packed<Block>) return bytes_of<Block>(rows, cols); \
    break;
    MILLRACE_FOR_EACH_DTYPE(ROW)
#undef ROW
  }
  return 0;
}

void pack(const Weight& plain, void* packed, int first_row, int n_rows) {
  switch (plain.dtype) {
#define ROW(id, Block, name, gguf_id, values, bytes)                          \
  case DType::id:                                                             \
    if constexpr (is_packed<Block>)                                           \
      pack_rows<Block>(plain, static_cast<char*>(packed), first_row, n_rows); \
    break;
    MILLRACE_FOR_EACH_DTYPE(ROW)
#undef ROW
  }
}

}  // namespace millrace::cuda
