#pragma once
// The packed form of a weight matrix on this device: in the order in which mma.sync reads it, so
// that a lane's share of a tile is a few loads of 16 bytes and nothing passes through shared memory
// (the idea is Marlin's, Frantar et al. 2024; the layout is ours).
//
// Rows are cut into bands of 16, columns into tiles of Packing::tile; both are padded with zeros. A
// band's tiles lie one after the other: codes of 16 x tile, then scales.
//   codes   per 64 columns. Of each step of 16 columns lane l holds four pairs: pair r is row
//           l / 4 + r % 2 * 8, columns 2 * (l % 4) + r / 2 * 8 and the next (the A fragment).
//           halves   [4 steps][32 lanes][4 pairs] of 16 bits each
//           bytes    [2 halves][32 lanes][2 steps][8], level + 128
//           nibbles  [32 lanes][4 steps] words; pair r: bits 4r.. and 16 + 4r.., level + zero
//   scales  one per block of 32: [tile's blocks][16 rows] d (16 bits), then the offsets alike.
//           K types, tile 256: [subs][16] int8 sub scales, then [subs][16] sub minimums where
//           there are offsets, then [16] d and [16] dmin (f16).
// The value of a code is scale * level - offset, as tensor/quant/codes.h defines both.
// Threads: pure functions.

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "ops/ops.h"
#include "tensor/dtype.h"

namespace millrace::cuda {

enum class Codes : uint8_t { halves, bytes, nibbles };

constexpr int k_band = 16;     // rows of a band
constexpr int k_columns = 64;  // columns of one set of codes
constexpr int k_byte_zero = 128;

// How a type is packed; `codes` halves have no scales.
struct Packing {
  Codes codes = Codes::halves;
  int sub = 0;  // values under one scale: 16 or 32
  bool offset = false;
  bool k_type = false;   // two levels of scales
  int nibble_zero = 0;   // what is added to a level to make it 0 to 15
  int tile = k_columns;  // columns

  constexpr size_t code_bytes() const {  // of 16 x 64
    const size_t values = k_band * k_columns;
    return codes == Codes::halves ? 2 * values : codes == Codes::bytes ? values : values / 2;
  }
  constexpr size_t scale_bytes() const {  // of one tile
    if (codes == Codes::halves) return 0;
    const auto subs = static_cast<size_t>(tile / sub);
    const size_t sides = offset ? 2 : 1;
    return k_type ? sides * k_band * (subs + 2) : sides * k_band * subs * 2;
  }
  constexpr size_t tile_bytes() const {
    return code_bytes() * static_cast<size_t>(tile / k_columns) + scale_bytes();
  }
};

template <class Block>
constexpr bool is_packed =
    !std::is_same_v<Block, F32> && !std::is_same_v<Block, I8> && !std::is_same_v<Block, I32>;

template <class Block>
constexpr Packing packing_of() {
  if constexpr (Block::k_values == 1) {
    return {};
  } else {
    int lowest = 127, highest = -128;
    for (int code = 0; code < Block::k_levels; ++code) {
      lowest = Block::level(code) < lowest ? Block::level(code) : lowest;
      highest = Block::level(code) > highest ? Block::level(code) : highest;
    }
    Packing packing;
    packing.codes = highest - lowest < 16 ? Codes::nibbles : Codes::bytes;
    packing.sub = Block::k_sub;
    packing.offset = Block::k_offset;
    packing.k_type = Block::k_values == 256;
    packing.nibble_zero = packing.codes == Codes::nibbles ? -lowest : 0;
    packing.tile = packing.k_type ? 256 : k_columns;
    return packing;
  }
}

// The same as a type: types that are packed alike share their kernels. (nvcc takes no kernel whose
// template argument is a Packing.)
template <Codes codes_, int sub_, bool offset_, bool k_type_, int nibble_zero_, int tile_>
struct Form {
  static constexpr Packing packing = {codes_, sub_, offset_, k_type_, nibble_zero_, tile_};
};
template <class Block>
using FormOf =
    Form<packing_of<Block>().codes, packing_of<Block>().sub, packing_of<Block>().offset,
         packing_of<Block>().k_type, packing_of<Block>().nibble_zero, packing_of<Block>().tile>;

// Bytes of a packed matrix; 0 for f32, which is read as it lies in the file.
size_t packed_bytes(DType dtype, int rows, int cols);
// Writes rows [first_row, first_row + n_rows), first_row a multiple of 16, into host memory.
void pack(const Weight& plain, void* packed, int first_row, int n_rows);

}  // namespace millrace::cuda
