#pragma once
// The input of a matrix product as tensor cores take it, once for all products that share it.

#include "ops/cuda/packed.h"
#include "ops/cuda/platform.h"
#include "ops/cuda/stream.h"
#include "ops/ops.h"

namespace millrace::cuda {

constexpr int k_sum_columns = 16;  // columns of one entry of x_sums

constexpr int k_chunk_halves = 8;                     // of one copy of 16 bytes
constexpr int k_chunks = k_columns / k_chunk_halves;  // of a token in a tile

// Chunk c of a token lies where chunk c ^ token % 8 would: the 128 bytes of a token in a tile are
// turned so that eight rows of a matrix meet different banks of shared memory, and any run of
// tokens of a tile can be copied there in one piece. It is the 128-byte swizzle of the PTX ISA.
__host__ __device__ constexpr int turned(int token, int chunk) { return chunk ^ token % k_chunks; }

// Where the value of a column lies.
__host__ __device__ constexpr int64_t place_of_value(int64_t n, int64_t token, int column) {
  const int chunk = turned(static_cast<int>(token), column % k_columns / k_chunk_halves);
  return (column / k_columns * n + token) * k_columns + chunk * k_chunk_halves +
         column % k_chunk_halves;
}

struct Prepared {
  const uint16_t* x;    // [tiles of 64 columns, n, 64], f16 or bf16, chunks turned
  const float* x_unit;  // [n], what the integers of a row are worth: a power of two
  const float* x_sums;  // [n, padded / 16], of what x holds
  bool bf16;
};

// Rows of bf16 in the place of [n, cols] f32, cols a multiple of 64: they take half of it, and
// their units, ones, come after them. They have no sums.
struct Rounded {
  uint16_t* x;
  float* unit;

  static Rounded of(float* rows, int n, int cols) {
    return {reinterpret_cast<uint16_t*>(rows), rows + static_cast<int64_t>(n) * cols / 2};
  }
  Prepared input() const { return {x, unit, nullptr, true}; }
};

// Rounds args.x to f16, each row scaled by a power of two that puts its largest value below 2^15,
// or to bf16 as it is. Rows are filled with zeros to `padded` columns, a multiple of 64. Where the
// kernel before is the norm or the gate that writes args.x, both become one. Lies in the workspace;
// null members after an error.
Prepared prepare(Stream& stream, const MatmulArgs& args, int padded, bool bf16);

}  // namespace millrace::cuda
