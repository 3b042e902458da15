#pragma once
// What the matrix kernels share. The columns of every product are cut into k_slices slices, which
// depend on their number alone; each is summed in steps of 16 from zero and the slices are added in
// order: a token's result has the same bits in every kernel and every batch.

#include "ops/cuda/launch.h"
#include "ops/cuda/prepare.h"
#include "ops/cuda/unpack.cuh"

namespace millrace::cuda {

constexpr int k_slices = 8;
constexpr int k_group = 8;  // tokens of one mma

// One of the products of a launch.
struct Output {
  const char* weight;
  const float* bias;
  float* out;
  int64_t out_stride;
  int rows;
};

struct MatmulParams {
  Prepared in;
  Output outputs[3];  // of one type of weight
  int n_outputs;
  int n;
  int tiles;  // of 64 columns
  bool bf16_scales;

  int most_rows() const {
    int most = 0;
    for (int i = 0; i < n_outputs; ++i) most = outputs[i].rows > most ? outputs[i].rows : most;
    return most;
  }
};

// Where slice `slice` begins, in tiles of 64 columns.
__host__ __device__ constexpr int slice_begin(int tiles, int slice) {
  return static_cast<int>(static_cast<int64_t>(tiles) * slice / k_slices);
}

// Where chunk c of a token of a tile lies in shared memory, the first token being a multiple of 8.
__device__ __forceinline__ char* chunk_of(char* tile, int token, int chunk) {
  return tile + (token * k_chunks + turned(token, chunk)) * 16;
}

// Starts the copy of some tokens of a tile of x, of which this thread takes its share; tokens
// beyond the last become zeros. A tile that is not there is no copy.
template <int tokens, int threads>
__device__ __forceinline__ void copy_x(const MatmulParams& params, int tile, bool is_there,
                                       int first_token, int thread, char* to) {
  const int first = (tile * params.n + first_token) * k_chunks;
  for (int i = thread; is_there && i < tokens * k_chunks; i += threads) {
    const bool present = first_token + i / k_chunks < params.n;
    const int64_t at = present ? first + i : 0;
    copy_async_16(to + i * 16, params.in.x + at * k_chunk_halves, present);
  }
}

template <bool bf16>
__device__ __forceinline__ void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                         uint32_t b1) {
  if constexpr (bf16)
    multiply_bf16(c, a, b0, b1);
  else
    multiply_f16(c, a, b0, b1);
}

__device__ __forceinline__ float bias_of(const Output& output, int row) {
  return output.bias && row < output.rows ? output.bias[row] : 0.0f;
}

__device__ __forceinline__ void write_product(const MatmulParams& params, const Output& output,
                                              int row, int token, float sum) {
  if (row >= output.rows || token >= params.n) return;
  output.out[token * output.out_stride + row] =
      fmaf(sum, params.in.x_unit[token], bias_of(output, row));
}

// What a block of many tokens makes, and the first of it.
struct BlockShape {
  int bands, tokens;
};
struct BlockPlace {
  int band, token;
};

__host__ __device__ constexpr int blocks_of(const MatmulParams& params, const Output& output,
                                            BlockShape shape) {
  const int rows = shape.bands * k_band;
  return (output.rows + rows - 1) / rows * ((params.n + shape.tokens - 1) / shape.tokens);
}

// Blocks go through a few blocks of rows for all tokens before the next few, so that those that run
// together share what they read, in the L2.
__device__ __forceinline__ BlockPlace place_of(const MatmulParams& params, const Output& output,
                                               BlockShape shape, int id) {
  constexpr int k_rows_at_once = 8;
  const int token_blocks = (params.n + shape.tokens - 1) / shape.tokens;
  const int row_blocks = blocks_of(params, output, shape) / token_blocks;
  const int first = id / (k_rows_at_once * token_blocks) * k_rows_at_once;
  const int rows = row_blocks - first < k_rows_at_once ? row_blocks - first : k_rows_at_once;
  const int at = id - first * token_blocks;
  return {(first + at % rows) * shape.bands, at / rows * shape.tokens};
}

// Of matmul-wide.cu: weights of 16 bits by more tokens than k_few.
constexpr int k_few = 128;
void launch_wide(Stream& stream, const MatmulParams& params, bool bf16);
bool can_be_wide(Stream& stream);

// Of matmul-hopper.cu: the same by products of warpgroups.
void launch_groups(Stream& stream, const MatmulParams& params, bool bf16);
// What a gate that was taken makes of the two products before it, for one of `cols` columns of
// bf16: all of it becomes one kernel, and the gate's out has what comes of it. Null where the
// kernel before is another.
Prepared take_gated(Stream& stream, const GateArgs& gate, int n, int cols);

}  // namespace millrace::cuda
