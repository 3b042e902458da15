// Matrix products of many tokens with weights of 16 bits: a block makes 128 rows for 128 tokens.
// Fragments of weights and rows of x come through shared memory, three tiles of 64 columns in
// flight or in use; each warp makes 64 rows for 32 tokens. A warp walks all columns itself and adds
// up what it has at the end of each slice, as the other kernel adds up its warps.

#include <algorithm>

#include "ops/cuda/matmul.cuh"

namespace millrace::cuda {
namespace {

constexpr int k_warps = 8;
constexpr int k_threads = k_warps * k_warp;
constexpr int k_warps_by_tokens = 4;
constexpr int k_bands = 4, k_groups = 4;  // of a warp
constexpr int k_block_bands = k_bands * k_warps / k_warps_by_tokens;
constexpr int k_block_tokens = k_groups * k_group * k_warps_by_tokens;
constexpr BlockShape k_block = {k_block_bands, k_block_tokens};
constexpr int k_stages = 3;
constexpr int k_band_bytes = k_band * k_columns * 2;  // of a tile
constexpr int k_weight_bytes = k_block_bands * k_band_bytes;
constexpr int k_stage_bytes = k_weight_bytes + k_block_tokens * k_columns * 2;
constexpr size_t k_shared_bytes = size_t{k_stages} * k_stage_bytes;

// Starts the copy of a tile; beyond the last, an empty group, so that waits count alike.
__device__ __forceinline__ void copy_tile(const MatmulParams& params, const Output& output,
                                          const BlockPlace& place, int tile, char* to) {
  constexpr int chunks = k_band_bytes / 16;  // of a band
  const int n_bands = (output.rows + k_band - 1) / k_band;
  const bool is_there = tile < params.tiles;
  for (int i = static_cast<int>(threadIdx.x); is_there && i < k_block_bands * chunks;
       i += k_threads) {
    const int wanted = place.band + i / chunks;
    const int band = wanted < n_bands ? wanted : n_bands - 1;  // what it gives is not written
    const char* from =
        output.weight + (static_cast<int64_t>(band) * params.tiles + tile) * k_band_bytes;
    copy_async_16(to + i * 16, from + i % chunks * 16, true);
  }
  copy_x<k_block_tokens, k_threads>(params, tile, is_there, place.token,
                                    static_cast<int>(threadIdx.x), to + k_weight_bytes);
  commit_copies();
}

struct Sums {
  float of[k_bands][k_groups][4] = {};
};

// One tile: four steps of 16 columns.
template <bool bf16>
__device__ __forceinline__ void multiply_tile(char* stage, Sums& sums) {
  const int lane = lane_of_thread();
  const int first_band = warp_of_thread() / k_warps_by_tokens * k_bands;
  const int first_token = warp_of_thread() % k_warps_by_tokens * k_groups * k_group;
  char* x = stage + k_weight_bytes;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    uint32_t b[k_groups][4];
#pragma unroll
    for (int g = 0; g < k_groups; ++g)
      load_matrices(b[g], chunk_of(x, first_token + g * k_group + lane % 8, half * 4 + lane / 8));
#pragma unroll
    for (int m = 0; m < k_bands; ++m)
#pragma unroll
      for (int step = 0; step < 2; ++step) {
        const auto fragment = *reinterpret_cast<const uint4*>(
            stage + (first_band + m) * k_band_bytes + ((half * 2 + step) * k_warp + lane) * 16);
        const uint32_t a[4] = {fragment.x, fragment.y, fragment.z, fragment.w};
#pragma unroll
        for (int g = 0; g < k_groups; ++g)
          multiply<bf16>(sums.of[m][g], a, b[g][2 * step], b[g][2 * step + 1]);
      }
  }
}

// Adds what a slice gave and starts the next at zero.
__device__ __forceinline__ void end_slice(Sums& slice, Sums& total) {
#pragma unroll
  for (int m = 0; m < k_bands; ++m)
#pragma unroll
    for (int g = 0; g < k_groups; ++g)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        total.of[m][g][i] += slice.of[m][g][i];
        slice.of[m][g][i] = 0;
      }
}

template <bool bf16>
__global__ void __launch_bounds__(k_threads, 1)
    wide_matmul_kernel(const __grid_constant__ MatmulParams params) {
  begin_kernel();
  const Output& output = params.outputs[blockIdx.z];
  const auto id = static_cast<int>(blockIdx.x);
  if (id >= blocks_of(params, output, k_block)) return;  // another product has more
  const BlockPlace place = place_of(params, output, k_block, id);
  const auto stage_of = [](int tile) { return shared_memory() + tile % k_stages * k_stage_bytes; };
  for (int i = 0; i < k_stages - 1; ++i) copy_tile(params, output, place, i, stage_of(i));
  Sums slice, total;
  int n_slices = 0;  // ended
  for (int tile = 0; tile < params.tiles; ++tile) {
    wait_copies<k_stages - 2>();
    __syncthreads();  // the tile is whole, and nobody reads the one that is filled next
    copy_tile(params, output, place, tile + k_stages - 1, stage_of(tile + k_stages - 1));
    multiply_tile<bf16>(stage_of(tile), slice);
    if (tile + 1 < slice_begin(params.tiles, n_slices + 1)) continue;
    end_slice(slice, total);
    while (n_slices < k_slices && tile + 1 >= slice_begin(params.tiles, n_slices + 1)) ++n_slices;
  }

  const int lane = lane_of_thread();
  const int first_row =
      (place.band + warp_of_thread() / k_warps_by_tokens * k_bands) * k_band + lane / 4;
  const int first_token =
      place.token + warp_of_thread() % k_warps_by_tokens * k_groups * k_group + lane % 4 * 2;
#pragma unroll
  for (int m = 0; m < k_bands; ++m)
#pragma unroll
    for (int g = 0; g < k_groups; ++g)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        write_product(params, output, first_row + m * k_band + i / 2 * 8,
                      first_token + g * k_group + i % 2, total.of[m][g][i]);
}

}  // namespace

bool can_be_wide(Stream& stream) { return stream.shared_bytes() >= k_shared_bytes; }

void launch_wide(Stream& stream, const MatmulParams& params, bool bf16) {
  int blocks = 0;
  for (int i = 0; i < params.n_outputs; ++i)
    blocks = std::max(blocks, blocks_of(params, params.outputs[i], k_block));
  launch(stream, bf16 ? wide_matmul_kernel<true> : wide_matmul_kernel<false>,
         {blocks, 1, params.n_outputs}, k_threads, k_shared_bytes, params);
}

}  // namespace millrace::cuda
