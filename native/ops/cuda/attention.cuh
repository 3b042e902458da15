#pragma once
// What both attention kernels are made of: lines, running softmaxes, and the joining of ranges.
// Where blocks are few, each takes one range and leaves a partial result (Dao et al.,
// "Flash-Decoding", 2023), and the last one to end joins them; where they are many, a block walks
// all of its ranges. Both join in the order of the ranges by the same arithmetic, ranges begin at
// multiples of k_range from position 0, and masked positions add nothing: a line gets the same bits
// alone, batched, and however its prompt was cut.

#include "ops/cuda/cache.cuh"
#include "ops/cuda/launch.h"
#include "ops/cuda/operators.h"
#include "ops/cuda/prepare.h"
#include "ops/cuda/reduce.cuh"

namespace millrace::cuda {

constexpr int k_attention_warps = 4;
constexpr int k_attention_threads = k_attention_warps * k_warp;
constexpr int k_lines_of_warp = k_lines / k_attention_warps;

struct AttentionParams {
  AttentionArgs args;
  const int32_t* pages;
  Tiles tiles;
  float* partials;     // [ranges of all tiles, kv_heads, lines, 2 + head_dim]: max, sum, values
  unsigned* counters;  // [tiles, kv_heads]
  int lines;           // that a tile may have
  int group;           // query heads per kv head
  int split;           // not 0: one block per range
  Rounded rounded;     // where out goes instead, if it is not null
};

// The running softmax of one line, kept by a warp: lane l has the dimensions l, l + 32, ...
template <int n_values>
struct Sum {
  float max = -INFINITY;
  float total = 0;
  float values[n_values] = {};
};

struct View {
  const AttentionParams& params;
  const Tile& tile;
  int kv_head;

  __device__ __forceinline__ int line(int i) const { return tile.first_line + i; }
  __device__ __forceinline__ int position(int i) const {
    return tile.first_position + line(i) / params.group;
  }
  __device__ __forceinline__ int64_t row(int i) const {
    return tile.first_row + line(i) / params.group;
  }
  __device__ __forceinline__ int head(int i) const {
    return kv_head * params.group + line(i) % params.group;
  }
};

// Dimension d of a line, in f32 or as the next product wants it.
__device__ __forceinline__ void write_value(const View& view, int line, int d, float value) {
  const AttentionParams& params = view.params;
  const int column = view.head(line) * params.args.cache.shape.head_dim + d;
  if (params.rounded.x)
    params.rounded.x[place_of_value(params.args.n, view.row(line), column)] = bf16_of_f32(value);
  else
    params.args.out[view.row(line) * params.args.out_stride + column] = value;
}
// Dimensions d, which is even, and d + 1.
__device__ __forceinline__ void write_values(const View& view, int line, int d, float value,
                                             float next) {
  const AttentionParams& params = view.params;
  const int column = view.head(line) * params.args.cache.shape.head_dim + d;
  if (params.rounded.x) {
    const uint32_t word = bf16_of_f32(value) | static_cast<uint32_t>(bf16_of_f32(next)) << 16;
    *reinterpret_cast<uint32_t*>(params.rounded.x +
                                 place_of_value(params.args.n, view.row(line), column)) = word;
  } else {
    float* out = params.args.out + view.row(line) * params.args.out_stride + column;
    out[0] = value;
    out[1] = next;
  }
}

// What there is of a token once, whatever its heads.
__device__ __forceinline__ void write_unit(const View& view, int line) {
  const Rounded& rounded = view.params.rounded;
  if (rounded.x && view.head(line) == 0) rounded.unit[view.row(line)] = 1.0f;
}

template <int n_values>
__device__ __forceinline__ void write_out(const View& view, int line, const Sum<n_values>& sum) {
  if (lane_of_thread() == 0) write_unit(view, line);
#pragma unroll
  for (int i = 0; i < n_values; ++i) {
    const int d = i * k_warp + lane_of_thread();
    if (d < view.params.args.cache.shape.head_dim)
      write_value(view, line, d, sum.values[i] / sum.total);
  }
}

__device__ __forceinline__ float* partial_of(const View& view, int range, int line) {
  const KvShape& shape = view.params.args.cache.shape;
  const int64_t place =
      static_cast<int64_t>(view.tile.first_range + range) * shape.kv_heads + view.kv_head;
  return view.params.partials + (place * view.params.lines + line) * (2 + shape.head_dim);
}

template <int n_values>
__device__ __forceinline__ void write_partial(const View& view, int line,
                                              const Sum<n_values>& sum) {
  float* part = partial_of(view, static_cast<int>(blockIdx.z), line);
  if (lane_of_thread() == 0) {
    part[0] = sum.max;
    part[1] = sum.total;
  }
#pragma unroll
  for (int i = 0; i < n_values; ++i) {
    const int d = i * k_warp + lane_of_thread();
    if (d < view.params.args.cache.shape.head_dim) part[2 + d] = sum.values[i];
  }
}

// What comes next of a line: its values are added under the larger maximum. Into an empty sum, what
// is joined comes out unchanged; what saw nothing adds nothing, whatever its values are.
struct Joint {
  float kept, weight;

  __device__ __forceinline__ static Joint of(float& max, float& total, float part_max,
                                             float part_total) {
    if (part_max == -INFINITY) return {1, 0};
    const float larger = fmaxf(max, part_max);
    const Joint joint{exponential(max - larger), exponential(part_max - larger)};
    total = fmaf(total, joint.kept, part_total * joint.weight);
    max = larger;
    return joint;
  }
  __device__ __forceinline__ float operator()(float all, float part) const {
    return weight == 0 ? all : fmaf(all, kept, part * weight);
  }
};

template <int n_values>
__device__ __forceinline__ void join(Sum<n_values>& all, const Sum<n_values>& part) {
  const Joint joint = Joint::of(all.max, all.total, part.max, part.total);
#pragma unroll
  for (int i = 0; i < n_values; ++i) all.values[i] = joint(all.values[i], part.values[i]);
}

template <int n_values>
__device__ __forceinline__ void join_partials(const View& view, int line) {
  const int dim = view.params.args.cache.shape.head_dim;
  Sum<n_values> all;
  for (int range = 0; range < view.tile.n_ranges; ++range) {
    const float* from = partial_of(view, range, line);
    Sum<n_values> part;
    part.max = from[0];
    part.total = from[1];
#pragma unroll
    for (int i = 0; i < n_values; ++i) {
      const int d = i * k_warp + lane_of_thread();
      if (d < dim) part.values[i] = from[2 + d];
    }
    join(all, part);
  }
  write_out(view, line, all);
}

// True in every thread of the block that is the last of its tile and kv head to come here. The flag
// says that others are left, not that none is: what shared memory holds at first (in the runner all
// ones) must not pass for a yes.
__device__ __forceinline__ bool came_last(const AttentionParams& params, const Tile& tile,
                                          int* others_left) {
  fence_device();
  __syncthreads();
  if (threadIdx.x == 0) {
    unsigned* counter = params.counters + blockIdx.x * gridDim.y + blockIdx.y;
    const bool last = count_visit(counter) + 1 == static_cast<unsigned>(tile.n_ranges);
    if (last) *counter = 0;
    *others_left = !last;
  }
  __syncthreads();
  fence_device();
  return *others_left == 0;
}

// Whether a block has the whole of its lines, else it leaves a part of them.
__device__ __forceinline__ bool writes_out(const View& view) {
  return view.params.split == 0 || view.tile.n_ranges == 1;
}

// The last block of a tile to end joins what all of them left.
template <int n_values>
__device__ __forceinline__ void join_left(const View& view, int* others_left) {
  if (!came_last(view.params, view.tile, others_left)) return;
  for (int line = warp_of_thread(); line < view.tile.n_lines; line += k_attention_warps)
    join_partials<n_values>(view, line);
}

// What a block ends with: this warp's lines written out, or left for the last block of the tile,
// which joins them.
template <int n_values>
__device__ __forceinline__ void end_lines(const View& view,
                                          const Sum<n_values> (&all)[k_lines_of_warp],
                                          int* others_left) {
  const Tile& tile = view.tile;
  const bool whole = writes_out(view);
#pragma unroll
  for (int i = 0; i < k_lines_of_warp; ++i) {
    const int line = i * k_attention_warps + warp_of_thread();
    if (line >= tile.n_lines) continue;
    if (whole)
      write_out(view, line, all[i]);
    else
      write_partial(view, line, all[i]);
  }
  if (!whole) join_left<n_values>(view, others_left);
}

// Of attention-mma.cu: an f16 cache whose heads are whole copies of 16 bytes, on tensor cores.
// Wider heads than this would want more registers than a thread has.
constexpr int k_mma_head_dim = 128;
using AttentionKernel = void (*)(AttentionParams);
struct AttentionLaunch {
  AttentionKernel kernel;
  size_t shared_bytes;
};
constexpr int k_copied_halves = 8;  // of one copy of 16 bytes
AttentionLaunch mma_attention(int head_dim, bool many);

}  // namespace millrace::cuda
