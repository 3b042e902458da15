// Matrix products of many tokens with weights of 16 bits, by what sm_90a has for them: one warp
// fills a ring of tiles in shared memory by bulk copies, two warpgroups multiply, each 64 rows for
// all tokens of the block. A weight's tiles are A fragments already, and those of x lie as the
// products want them, so nothing is rearranged and no tensor map is needed. Blocks stay for all
// that there is to do: the next tiles are on their way while sums are written.
//
// Where what is multiplied is gated and goes into another product, one warpgroup has the gate's
// rows and the other those of the same number that the gate multiplies: they hand each other half
// of their sums, and the product's input is written as it wants it.

#include <algorithm>

#include "ops/cuda/gate.cuh"
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

constexpr int k_group_threads = k_group_warps * k_warp;

// Blocks of two widths: the narrow one where the wide one would leave multiprocessors idle.
template <int groups, bool gated>
struct Shape {
  static constexpr BlockShape block = {gated ? k_group_warps : k_block_bands, groups* k_group};
  static constexpr int weight_bytes = k_block_bands * k_band_bytes;
  static constexpr int stage_bytes = weight_bytes + block.tokens * k_columns * 2;
  static constexpr int stages = 192 * 1024 / stage_bytes;
  static constexpr int handed_floats = gated ? groups / 2 * 4 * k_group_threads : 0;  // by a group
  static constexpr int phases_at = stages * stage_bytes + k_consumers * handed_floats * 4;
  static constexpr size_t shared_bytes = phases_at + (2 * stages + 2) * sizeof(Phase);
};

// Where a warp is in the ring.
template <int groups, bool gated>
struct Ring {
  using Room = Shape<groups, gated>;
  int stage = 0, parity = 0;

  __device__ __forceinline__ void go_on() {
    if (++stage < Room::stages) return;
    stage = 0;
    parity ^= 1;
  }
  __device__ __forceinline__ char* tile() const {
    return shared_memory() + stage * Room::stage_bytes;
  }
  __device__ __forceinline__ static Phase* phases() {
    return reinterpret_cast<Phase*>(shared_memory() + Room::phases_at);
  }
  __device__ __forceinline__ Phase* full() const { return phases() + stage; }
  __device__ __forceinline__ Phase* empty() const { return phases() + Room::stages + stage; }
  __device__ __forceinline__ static BlockPlace place(const MatmulParams& params,
                                                     const Output& output, int id) {
    return place_of(params, output, Room::block, id);
  }
  // Of what the warpgroups hand each other: both have given theirs, both have taken it.
  __device__ __forceinline__ static Phase* given() { return phases() + 2 * Room::stages; }
  __device__ __forceinline__ static Phase* taken() { return given() + 1; }
  __device__ __forceinline__ static float* handed_by(int group) {
    char* handed = shared_memory() + Room::stages * Room::stage_bytes;
    return reinterpret_cast<float*>(handed) + group * Room::handed_floats;
  }
};

// Calls f(output, id) for all that this block has to make; a place of the gate is that of
// what it multiplies, too.
template <class Ring, class F>
__device__ __forceinline__ void for_places(const MatmulParams& params, const F& f) {
  constexpr bool gated = Ring::Room::handed_floats > 0;
  auto id = static_cast<int>(blockIdx.x);
  for (int i = 0; i < (gated ? 1 : params.n_outputs); ++i) {
    const Output& output = params.outputs[i];
    const int blocks = blocks_of(params, output, Ring::Room::block);
    for (; id < blocks; id += static_cast<int>(gridDim.x)) f(output, id);
    id -= blocks;
  }
}

// What one tile takes from memory; bands and tokens beyond the last are not copied, and what they
// give is not written. The gate's are whole.
struct Share {
  int bands, tokens;

  template <class Ring>
  __device__ __forceinline__ static Share of(const MatmulParams& params, const Output& output,
                                             const BlockPlace& place) {
    const int bands = (output.rows + k_band - 1) / k_band - place.band;
    const int tokens = params.n - place.token;
    constexpr BlockShape most = Ring::Room::block;
    return {bands < most.bands ? bands : most.bands, tokens < most.tokens ? tokens : most.tokens};
  }
};

template <class Ring>
__device__ __forceinline__ void copy_weights(const MatmulParams& params, const Output& output,
                                             const BlockPlace& place, int tile, const Ring& ring) {
  constexpr int sides = k_block_bands / Ring::Room::block.bands;
  const Share share = Share::of<Ring>(params, output, place);
  arrive_and_expect(ring.full(), sides * share.bands * k_band_bytes + share.tokens * k_columns * 2);
  for (int side = 0; side < sides; ++side) {
    const char* weight = side == 0 ? output.weight : params.outputs[1].weight;
    char* to = ring.tile() + side * k_group_warps * k_band_bytes;
    for (int i = 0; i < share.bands; ++i) {
      const int64_t at = static_cast<int64_t>(place.band + i) * params.tiles + tile;
      copy_bulk(to + i * k_band_bytes, weight + at * k_band_bytes, k_band_bytes, ring.full());
    }
  }
}

template <class Ring>
__device__ __forceinline__ void copy_tokens(const MatmulParams& params, const Output& output,
                                            const BlockPlace& place, int tile, const Ring& ring) {
  const int64_t at = static_cast<int64_t>(tile) * params.n + place.token;
  copy_bulk(ring.tile() + Ring::Room::weight_bytes, params.in.x + at * k_columns,
            Share::of<Ring>(params, output, place).tokens * k_columns * 2, ring.full());
}

// By one thread. No kernel writes weights: those of the first tiles are on their way before the
// kernel before has ended. Who multiplies waits for it by waiting for the first tile.
template <class Ring>
__device__ __forceinline__ void produce(const MatmulParams& params) {
  Ring early, ring;
  int n_early = 0;
  for_places<Ring>(params, [&](const Output& output, int id) {
    const BlockPlace place = Ring::place(params, output, id);
    for (int tile = 0; tile < params.tiles && n_early < Ring::Room::stages; ++tile, ++n_early) {
      copy_weights(params, output, place, tile, early);
      early.go_on();
    }
  });
  wait_for_earlier();
  for_places<Ring>(params, [&](const Output& output, int id) {
    const BlockPlace place = Ring::place(params, output, id);
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
template <bool bf16, class Ring, int groups>
__device__ __forceinline__ void multiply_slice(int n_tiles, Ring& ring, Sums<groups>& sums) {
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
      multiply_group<bf16>(sums.of, a[step], tile + Ring::Room::weight_bytes, step,
                           i > 0 || step > 0);
    commit_products();
    wait_products<0>(sums.of);
    if (lane == 0) arrive(ring.empty());
    ring.go_on();
  }
}

// Of this warp's band, the slices in order.
template <bool bf16, class Ring, int groups>
__device__ __forceinline__ void multiply_tiles(int tiles, Ring& ring, Sums<groups>& total) {
  Sums<groups> slice;
  for (int i = 0; i < k_slices; ++i) {
    const int n_tiles = slice_begin(tiles, i + 1) - slice_begin(tiles, i);
    if (n_tiles == 0) continue;
    multiply_slice<bf16>(n_tiles, ring, slice);
#pragma unroll
    for (int g = 0; g < groups; ++g)
#pragma unroll
      for (int j = 0; j < 4; ++j) total.of[g][j] += slice.of[g][j];
  }
}

template <bool bf16, int groups>
__device__ __forceinline__ void consume(const MatmulParams& params) {
  using Place = Ring<groups, false>;
  Place ring;
  for_places<Place>(params, [&](const Output& output, int id) {
    Sums<groups> total{};
    multiply_tiles<bf16>(params.tiles, ring, total);
    const BlockPlace place = Place::place(params, output, id);
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

// The products of the gate and of what it multiplies, in bf16, gated and rounded.
struct GatedParams {
  MatmulParams products;
  int64_t act;  // an Act
  Rounded out;
};

// A warpgroup ends with half of the tokens. Two lanes whose rows are neighbours have a word of both
// rows for a token each.
template <int groups>
__device__ __forceinline__ void write_gated(const GatedParams& params, const BlockPlace& place,
                                            int group, int thread, const float* taken,
                                            const Sums<groups>& total) {
  const MatmulParams& products = params.products;
  const int lane = thread % k_warp, band = thread / k_warp;
  const int row = (place.band + band) * k_band + lane / 4;
  const int odd = lane / 4 % 2;
  const int token = place.token + group * groups / 2 * k_group + lane % 4 * 2 + odd;
#pragma unroll
  for (int side = 0; side < 2; ++side) {
    const float gate_bias = bias_of(products.outputs[0], row + side * 8);
    const float up_bias = bias_of(products.outputs[1], row + side * 8);
#pragma unroll
    for (int g = 0; g < groups / 2; ++g) {
      uint32_t bits[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int j = side * 2 + i;
        const float mine = group == 0 ? total.of[g][j] : total.of[groups / 2 + g][j];
        const float other = taken[(g * 4 + j) * k_group_threads + thread];
        const float gate = (group == 0 ? mine : other) + gate_bias;
        const float up = (group == 0 ? other : mine) + up_bias;
        bits[i] = bf16_of_f32(activate(gate, static_cast<Act>(params.act)) * up);
      }
      const uint32_t got = shuffle_xor(odd ? bits[0] : bits[1], 4);
      const uint32_t word = odd ? got | bits[1] << 16 : bits[0] | got << 16;
      const int one = token + g * k_group;
      if (one < products.n)
        *reinterpret_cast<uint32_t*>(params.out.x +
                                     place_of_value(products.n, one, row + side * 8 - odd)) = word;
    }
  }
}

template <int groups>
__device__ __forceinline__ void consume_gated(const GatedParams& params) {
  using Place = Ring<groups, true>;
  Place ring;
  const MatmulParams& products = params.products;
  for_places<Place>(products, [&](const Output& output, int id) {
    Sums<groups> total{};
    multiply_tiles<true>(products.tiles, ring, total);
    const int thread = thread_anew(), group = thread / k_group_threads;
    const BlockPlace place = Place::place(products, output, id);
    const int lane = thread % k_warp;
    const int parity = id / static_cast<int>(gridDim.x) % 2;  // this block's first, second, ...
    wait_phase(Place::taken(), parity ^ 1);
    float* given = Place::handed_by(group) + thread % k_group_threads;
#pragma unroll
    for (int g = 0; g < groups / 2; ++g)
#pragma unroll
      for (int j = 0; j < 4; ++j)
        given[(g * 4 + j) * k_group_threads] =
            group == 0 ? total.of[groups / 2 + g][j] : total.of[g][j];
    order_warp();
    if (lane == 0) arrive(Place::given());
    wait_phase(Place::given(), parity);
    write_gated(params, place, group, thread % k_group_threads, Place::handed_by(1 - group), total);
    if (place.band == 0 && thread < Place::Room::block.tokens && place.token + thread < products.n)
      params.out.unit[place.token + thread] = 1.0f;
    order_warp();
    if (lane == 0) arrive(Place::taken());
  });
}

template <class Ring>
__device__ __forceinline__ void open_phases() {
  let_next_start();
  if (threadIdx.x == 0) {
    Ring ring;
    for (int i = 0; i < Ring::Room::stages; ++i, ring.go_on()) {
      open_phase(ring.full(), 1);
      open_phase(ring.empty(), k_consumer_warps);
    }
    open_phase(ring.given(), k_consumer_warps);
    open_phase(ring.taken(), k_consumer_warps);
    publish_shared();
  }
  __syncthreads();
}

template <bool bf16, int groups>
__global__ void __launch_bounds__(k_threads, 1)
    group_matmul_kernel(const __grid_constant__ MatmulParams params) {
  if constexpr (k_has_groups) {
    open_phases<Ring<groups, false>>();
    if (warp_of_thread() < k_consumer_warps)
      consume<bf16, groups>(params);
    else if (lane_of_thread() == 0)
      produce<Ring<groups, false>>(params);
  }
}

template <int groups>
__global__ void __launch_bounds__(k_threads, 1)
    gated_matmul_kernel(const __grid_constant__ GatedParams params) {
  if constexpr (k_has_groups) {
    open_phases<Ring<groups, true>>();
    if (warp_of_thread() < k_consumer_warps)
      consume_gated<groups>(params);
    else if (lane_of_thread() == 0)
      produce<Ring<groups, true>>(params.products);
  }
}

// As many blocks as there are multiprocessors to take them.
template <class Ring, class Params>
void launch_blocks(Stream& stream, void (*kernel)(Params), int blocks, const Params& params) {
  launch(stream, kernel, {std::min(blocks, stream.multiprocessors())}, k_threads,
         Ring::Room::shared_bytes, params);
}

template <int groups, bool gated>
int all_blocks(const MatmulParams& params) {
  int blocks = 0;
  for (int i = 0; i < (gated ? 1 : params.n_outputs); ++i)
    blocks += blocks_of(params, params.outputs[i], Shape<groups, gated>::block);
  return blocks;
}

template <int groups>
void launch_width(Stream& stream, const MatmulParams& params, bool bf16) {
  const auto kernel = bf16 ? group_matmul_kernel<true, groups> : group_matmul_kernel<false, groups>;
  launch_blocks<Ring<groups, false>>(stream, kernel, all_blocks<groups, false>(params), params);
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
  if (all_blocks<16, false>(params) >= stream.multiprocessors())
    return launch_width<16>(stream, params, bf16);
  launch_width<8>(stream, params, bf16);
}

Prepared take_gated(Stream& stream, const GateArgs& gate, int n, int cols) {
  const MatmulParams* last = last_params(stream, group_matmul_kernel<true, 16>);
  if (!last) last = last_params(stream, group_matmul_kernel<true, 8>);
  if (!last || last->n_outputs != 2 || last->n != n || cols % k_columns != 0) return {};
  const float* made[] = {gate.gate, gate.up};
  for (int i = 0; i < 2; ++i) {
    const Output& output = last->outputs[i];
    if (output.out != made[i] || output.rows != cols || output.out_stride != cols) return {};
  }
  const Rounded out = Rounded::of(gate.out, n, cols);
  const GatedParams params{taken(stream, last), static_cast<int64_t>(gate.act), out};
  const int wide = all_blocks<16, true>(params.products);
  if (wide >= stream.multiprocessors())
    launch_blocks<Ring<16, true>>(stream, gated_matmul_kernel<16>, wide, params);
  else
    launch_blocks<Ring<8, true>>(stream, gated_matmul_kernel<8>,
                                 all_blocks<8, true>(params.products), params);
  return out.input();
}

}  // namespace millrace::cuda
