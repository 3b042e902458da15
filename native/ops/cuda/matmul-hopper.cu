// Matrix products of many tokens with weights of 16 bits, by what sm_90a has for them: one warp
// fills a ring of tiles in shared memory by bulk copies, two warpgroups multiply, each 64 rows for
// all tokens of the block. A weight's tiles are A fragments already, and those of x lie as the
// products want them, so nothing is rearranged and no tensor map is needed. Blocks stay for all
// that there is to do: the next tiles are on their way while sums are written.

#include <algorithm>

#include "ops/cuda/matmul.cuh"

namespace millrace::cuda {
namespace {

constexpr int k_consumers = 2;    // warpgroups
constexpr int k_group_warps = 4;  // and bands
constexpr int k_consumer_warps = k_consumers * k_group_warps;
constexpr int k_threads = (k_consumer_warps + 1) * k_warp;  // the last warp fills the ring
constexpr int k_block_bands = k_consumer_warps;
constexpr int k_band_bytes = k_band * k_columns * 2;  // of a tile
constexpr int k_steps = k_columns / 16;

// Blocks of two widths: the narrow one where the wide one would leave multiprocessors idle.
template <int groups>
struct Shape {
  static constexpr BlockShape block = {k_block_bands, groups* k_group};
  static constexpr int weight_bytes = k_block_bands * k_band_bytes;
  static constexpr int stage_bytes = weight_bytes + block.tokens * k_columns * 2;
  static constexpr int stages = 192 * 1024 / stage_bytes;
  static constexpr size_t phase_bytes = 2 * stages * sizeof(Phase);
  static constexpr size_t shared_bytes = size_t{stages} * stage_bytes + phase_bytes;
};

// Where a warp is in the ring.
template <int groups>
struct Ring {
  int stage = 0, parity = 0;

  __device__ __forceinline__ void go_on() {
    if (++stage < Shape<groups>::stages) return;
    stage = 0;
    parity ^= 1;
  }
  __device__ __forceinline__ char* tile() const {
    return shared_memory() + stage * Shape<groups>::stage_bytes;
  }
  __device__ __forceinline__ static Phase* phases() {
    return reinterpret_cast<Phase*>(shared_memory() +
                                    Shape<groups>::stages * Shape<groups>::stage_bytes);
  }
  __device__ __forceinline__ Phase* full() const { return phases() + stage; }
  __device__ __forceinline__ Phase* empty() const {
    return phases() + Shape<groups>::stages + stage;
  }
};

// Calls f(output, place) for all that this block has to make.
template <int groups, class F>
__device__ __forceinline__ void for_places(const MatmulParams& params, const F& f) {
  auto id = static_cast<int>(blockIdx.x);
  for (int i = 0; i < params.n_outputs; ++i) {
    const Output& output = params.outputs[i];
    const int blocks = blocks_of(params, output, Shape<groups>::block);
    for (; id < blocks; id += static_cast<int>(gridDim.x))
      f(output, place_of(params, output, Shape<groups>::block, id));
    id -= blocks;
  }
}

// What one tile takes from memory; bands and tokens beyond the last are not copied, and what they
// give is not written.
struct Share {
  int bands, tokens;

  template <int groups>
  __device__ __forceinline__ static Share of(const MatmulParams& params, const Output& output,
                                             const BlockPlace& place) {
    const int bands = (output.rows + k_band - 1) / k_band - place.band;
    const int tokens = params.n - place.token;
    constexpr BlockShape most = Shape<groups>::block;
    return {bands < most.bands ? bands : most.bands, tokens < most.tokens ? tokens : most.tokens};
  }
};

template <int groups>
__device__ __forceinline__ void copy_weights(const MatmulParams& params, const Output& output,
                                             const BlockPlace& place, int tile,
                                             const Ring<groups>& ring) {
  const Share share = Share::of<groups>(params, output, place);
  arrive_and_expect(ring.full(), share.bands * k_band_bytes + share.tokens * k_columns * 2);
  for (int i = 0; i < share.bands; ++i) {
    const int64_t at = static_cast<int64_t>(place.band + i) * params.tiles + tile;
    copy_bulk(ring.tile() + i * k_band_bytes, output.weight + at * k_band_bytes, k_band_bytes,
              ring.full());
  }
}

template <int groups>
__device__ __forceinline__ void copy_tokens(const MatmulParams& params, const Output& output,
                                            const BlockPlace& place, int tile,
                                            const Ring<groups>& ring) {
  const int64_t at = static_cast<int64_t>(tile) * params.n + place.token;
  copy_bulk(ring.tile() + Shape<groups>::weight_bytes, params.in.x + at * k_columns,
            Share::of<groups>(params, output, place).tokens * k_columns * 2, ring.full());
}

// By one thread. No kernel writes weights: those of the first tiles are on their way before the
// kernel before has ended. Who multiplies waits for it by waiting for the first tile.
template <int groups>
__device__ __forceinline__ void produce(const MatmulParams& params) {
  Ring<groups> early, ring;
  int n_early = 0;
  for_places<groups>(params, [&](const Output& output, const BlockPlace& place) {
    for (int tile = 0; tile < params.tiles && n_early < Shape<groups>::stages; ++tile, ++n_early) {
      copy_weights(params, output, place, tile, early);
      early.go_on();
    }
  });
  wait_for_earlier();
  for_places<groups>(params, [&](const Output& output, const BlockPlace& place) {
    for (int tile = 0; tile < params.tiles; ++tile, --n_early) {
      if (n_early <= 0) {
        wait_phase(ring.empty(), ring.parity ^ 1);
        copy_weights(params, output, place, tile, ring);
      }
      copy_tokens(params, output, place, tile, ring);
      ring.go_on();
    }
  });
}

template <int groups>
struct Sums {
  float of[groups][4];
};

// The products of a slice's tiles. A warpgroup waits for those of a tile before it reads the next
// weights; meanwhile the tensor cores have those of the other one.
template <bool bf16, int groups>
__device__ __forceinline__ void multiply_slice(int n_tiles, Ring<groups>& ring,
                                               Sums<groups>& sums) {
  const int lane = lane_of_thread();
  for (int i = 0; i < n_tiles; ++i) {
    wait_phase(ring.full(), ring.parity);
    const char* tile = ring.tile();
    uint32_t a[k_steps][4];
#pragma unroll
    for (int step = 0; step < k_steps; ++step) {
      const auto fragment = *reinterpret_cast<const uint4*>(tile + warp_of_thread() * k_band_bytes +
                                                            (step * k_warp + lane) * 16);
      a[step][0] = fragment.x;
      a[step][1] = fragment.y;
      a[step][2] = fragment.z;
      a[step][3] = fragment.w;
    }
    begin_products();
#pragma unroll
    for (int step = 0; step < k_steps; ++step)
      multiply_group<bf16>(sums.of, a[step], tile + Shape<groups>::weight_bytes, step,
                           i > 0 || step > 0);
    commit_products();
    wait_products<0>(sums.of);
    if (lane == 0) arrive(ring.empty());
    ring.go_on();
  }
}

template <bool bf16, int groups>
__device__ __forceinline__ void consume(const MatmulParams& params) {
  Ring<groups> ring;
  for_places<groups>(params, [&](const Output& output, const BlockPlace& place) {
    Sums<groups> slice, total{};
    for (int i = 0; i < k_slices; ++i) {
      const int n_tiles = slice_begin(params.tiles, i + 1) - slice_begin(params.tiles, i);
      if (n_tiles == 0) continue;
      multiply_slice<bf16>(n_tiles, ring, slice);
#pragma unroll
      for (int g = 0; g < groups; ++g)
#pragma unroll
        for (int j = 0; j < 4; ++j) total.of[g][j] += slice.of[g][j];
    }
    const int lane = lane_of_thread();
    const int row = (place.band + warp_of_thread()) * k_band + lane / 4;
    const int token = place.token + lane % 4 * 2;
    const float bias[2] = {bias_of(output, row), bias_of(output, row + 8)};
#pragma unroll
    for (int g = 0; g < groups; ++g)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int one = token + g * k_group + i;
        if (one >= params.n) continue;
        const float unit = params.in.x_unit[one];
#pragma unroll
        for (int side = 0; side < 2; ++side)
          if (row + side * 8 < output.rows)
            output.out[one * output.out_stride + row + side * 8] =
                fmaf(total.of[g][side * 2 + i], unit, bias[side]);
      }
  });
}

template <bool bf16, int groups>
__global__ void __launch_bounds__(k_threads, 1)
    group_matmul_kernel(const __grid_constant__ MatmulParams params) {
  if constexpr (k_has_groups) {
    let_next_start();
    if (threadIdx.x == 0) {
      Ring<groups> ring;
      for (int i = 0; i < Shape<groups>::stages; ++i, ring.go_on()) {
        open_phase(ring.full(), 1);
        open_phase(ring.empty(), k_consumer_warps);
      }
      publish_shared();
    }
    __syncthreads();
    if (warp_of_thread() < k_consumer_warps)
      consume<bf16, groups>(params);
    else if (lane_of_thread() == 0)
      produce<groups>(params);
  }
}

template <int groups>
void launch_width(Stream& stream, const MatmulParams& params, int blocks, bool bf16) {
  launch(stream, bf16 ? group_matmul_kernel<true, groups> : group_matmul_kernel<false, groups>,
         {std::min(blocks, stream.multiprocessors())}, k_threads, Shape<groups>::shared_bytes,
         params);
}

template <int groups>
int all_blocks(const MatmulParams& params) {
  int blocks = 0;
  for (int i = 0; i < params.n_outputs; ++i)
    blocks += blocks_of(params, params.outputs[i], Shape<groups>::block);
  return blocks;
}

// Whether products of a warpgroup round as those of warps, for signs and magnitudes from 2^-7 to 2.
constexpr int k_check_tiles = 2;
constexpr int k_check_threads = k_group_warps * k_warp;

struct CheckParams {
  unsigned* alike;  // sums
};

template <bool bf16>
__device__ __forceinline__ uint32_t any_pair(uint32_t seed) {
  seed = (seed ^ seed >> 16) * 0x7feb352du;
  seed = (seed ^ seed >> 15) * 0x846ca68bu;
  seed ^= seed >> 16;
  return bf16 ? (seed & 0x83ff83ffu) | 0x3c003c00u : (seed & 0x9fff9fffu) | 0x20002000u;
}

template <bool bf16, int groups>
__global__ void __launch_bounds__(k_check_threads)
    check_groups_kernel(const __grid_constant__ CheckParams params) {
  if constexpr (k_has_groups) {
    begin_kernel();
    const auto thread = static_cast<uint32_t>(threadIdx.x);
    const int lane = lane_of_thread();
    char* x = shared_memory();
    float by_group[groups][4] = {}, by_warps[groups][4] = {};
    for (uint32_t tile = 0; tile < k_check_tiles; ++tile) {
      __syncthreads();
      for (uint32_t i = thread; i < groups * k_group * k_columns / 2; i += k_check_threads)
        reinterpret_cast<uint32_t*>(x)[i] = any_pair<bf16>(tile << 16 | i);
      publish_shared();
      __syncthreads();
#pragma unroll 1
      for (int step = 0; step < k_steps; ++step) {
        uint32_t a[4];
        for (uint32_t i = 0; i < 4; ++i)
          a[i] =
              any_pair<bf16>(~(tile << 16 | static_cast<uint32_t>(step) << 12 | thread << 2 | i));
        begin_products();
        multiply_group<bf16>(by_group, a, x, step, true);
        commit_products();
        wait_products<0>(by_group);
        for (int g = 0; g < groups; ++g) {
          uint32_t b[4];
          const int chunk = step / 2 * 4 + lane / 8;
          load_matrices(b, chunk_of(x, g * k_group + lane % 8, chunk));
          multiply<bf16>(by_warps[g], a, b[step % 2 * 2], b[step % 2 * 2 + 1]);
        }
      }
    }
    for (int g = 0; g < groups; ++g)
      for (int i = 0; i < 4; ++i)
        if (bits_of_float(by_group[g][i]) == bits_of_float(by_warps[g][i]))
          count_visit(params.alike);
  }
}

// Returns how many sums there are.
template <bool bf16, int groups>
unsigned launch_check(Stream& stream, unsigned* alike) {
  launch(stream, check_groups_kernel<bf16, groups>, {}, k_check_threads,
         size_t{groups} * k_group * k_columns * sizeof(uint16_t), {alike});
  return k_check_threads * groups * 4;
}

}  // namespace

Status check_groups(Stream& stream) {
  if (!stream.has_groups()) return {};
  unsigned alike = 0;
  auto* count = static_cast<unsigned*>(stream.alloc(sizeof alike));
  if (!count) {
    stream.set_groups(Stream::Rounding::unknown);
    return {};
  }
  const unsigned all =
      launch_check<true, 8>(stream, count) + launch_check<false, 8>(stream, count) +
      launch_check<true, 16>(stream, count) + launch_check<false, 16>(stream, count);
  const Status status = stream.copy(&alike, count, sizeof alike);
  stream.release(count);
  TRY(status);
  stream.set_groups(alike == all ? Stream::Rounding::alike : Stream::Rounding::unlike);
  return stream.take_error();
}

void launch_groups(Stream& stream, const MatmulParams& params, bool bf16) {
  const int wide = all_blocks<16>(params);
  if (wide >= stream.multiprocessors()) return launch_width<16>(stream, params, wide, bf16);
  launch_width<8>(stream, params, all_blocks<8>(params), bf16);
}

}  // namespace millrace::cuda
