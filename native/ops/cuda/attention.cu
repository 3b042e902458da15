// Paged attention for prefill and decode in one kernel. A query head of one token is a *line*; a
// block takes up to k_lines lines that share a kv head, so that a key is read once for all of them.
// Positions are cut into ranges of k_range. Where blocks are few, each takes one range and leaves a
// partial result (Dao et al., "Flash-Decoding", 2023), and the last one to end joins them; where
// they are many, a block walks all of its ranges. Both join in the order of the ranges by the same
// arithmetic, ranges begin at multiples of k_range from position 0, and masked positions add
// nothing: a line gets the same bits alone, batched, and however its prompt was cut.

#include "ops/cuda/cache.cuh"
#include "ops/cuda/launch.h"
#include "ops/cuda/operators.h"
#include "ops/cuda/reduce.cuh"

namespace millrace::cuda {
namespace {

constexpr int k_warps = 4;
constexpr int k_threads = k_warps * k_warp;
constexpr int k_lines_of_warp = 4;
static_assert(k_lines == k_warps * k_lines_of_warp);
constexpr int k_chunk = k_warp;  // positions in shared memory at a time: one per lane
constexpr int k_max_head_dim = 256;
constexpr size_t k_many_blocks = 256;  // about two for each multiprocessor of the largest devices

struct AttentionParams {
  AttentionArgs args;
  AttentionPlan plan;
  float* partials;     // [tiles, kv_heads, ranges, k_lines, 2 + head_dim]: max, sum, values
  unsigned* counters;  // [tiles, kv_heads]
  int group;           // query heads per kv head
  bool split;          // one block per range
};

// What a block keeps: queries, one chunk of keys and values (a column more, so that lanes that
// walk rows meet different banks), and whether it came last.
__host__ __device__ constexpr int padded(int head_dim) { return head_dim + 1; }
__host__ __device__ constexpr size_t shared_bytes_for(int head_dim) {
  return sizeof(float) * static_cast<size_t>(k_lines * head_dim + 2 * k_chunk * padded(head_dim)) +
         sizeof(int);
}

// The running softmax of one line; values d of lane l are l, l + 32, ...
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

__device__ __forceinline__ void load_queries(const View& view, float* queries) {
  const AttentionArgs& args = view.params.args;
  const int dim = args.cache.shape.head_dim;
  for (int i = static_cast<int>(threadIdx.x); i < view.tile.n_lines * dim; i += k_threads) {
    const int line = i / dim;
    queries[i] = args.q[view.row(line) * args.q_stride + view.head(line) * dim + i % dim];
  }
}

// Positions [first, first + k_chunk) below `end`; zeros from there on, for a page's unwritten rows
// may hold NaN.
template <DType dtype>
__device__ __forceinline__ void load_chunk(const View& view, int first, int end, float* keys,
                                           float* values) {
  const KvCacheView& cache = view.params.args.cache;
  const int dim = cache.shape.head_dim;
  const int page_tokens = cache.shape.page_tokens;
  for (int i = static_cast<int>(threadIdx.x); i < k_chunk * dim; i += k_threads) {
    const int position = first + i / dim, d = i % dim;
    float key = 0, value = 0;
    if (position < end) {
      const int page = view.params.plan.pages[view.tile.first_page + position / page_tokens];
      const int slot = position % page_tokens, layer = view.params.args.layer;
      key = read_cached<dtype>(cache.shape, plane_of<dtype>(cache, page, layer, 0, view.kv_head),
                               slot, d);
      value = read_cached<dtype>(cache.shape, plane_of<dtype>(cache, page, layer, 1, view.kv_head),
                                 slot, d);
    }
    keys[i / dim * padded(dim) + d] = key;
    values[i / dim * padded(dim) + d] = value;
  }
}

struct Line {
  const float* query;
  int position;
};

// Adds a chunk to one line: this lane scores position first + lane, then gathers its dimensions.
template <int n_values>
__device__ __forceinline__ void add_chunk(const AttentionArgs& args, const Line& line, int first,
                                          const float* keys, const float* values,
                                          Sum<n_values>& sum) {
  const int dim = args.cache.shape.head_dim;
  const int lane = lane_of_thread();
  const int mine = first + lane;
  const bool seen =
      mine <= line.position && (args.window == 0 || mine > line.position - args.window);
  float score = 0;
  for (int d = 0; d < dim; ++d) score += line.query[d] * keys[lane * padded(dim) + d];
  score *= args.scale;
  if (args.soft_cap > 0) score = args.soft_cap * tanhf(score / args.soft_cap);
  if (!seen) score = -INFINITY;
  const float max = fmaxf(sum.max, max_of_warp(score));
  if (max == -INFINITY) return;  // the same for all lanes
  const float weight = exponential(score - max);
  const float kept = exponential(sum.max - max);
  sum.total = sum.total * kept + sum_of_warp(weight);
  sum.max = max;
#pragma unroll
  for (int i = 0; i < n_values; ++i) sum.values[i] *= kept;
  for (int j = 0; j < k_chunk; ++j) {
    const float w = shuffle(weight, j);
#pragma unroll
    for (int i = 0; i < n_values; ++i) {
      const int d = i * k_warp + lane;
      if (d < dim) sum.values[i] += w * values[j * padded(dim) + d];
    }
  }
}

template <int n_values>
__device__ __forceinline__ void write_out(const View& view, int line, const Sum<n_values>& sum) {
  const AttentionArgs& args = view.params.args;
  const int dim = args.cache.shape.head_dim;
  float* out = args.out + view.row(line) * args.out_stride + view.head(line) * dim;
#pragma unroll
  for (int i = 0; i < n_values; ++i) {
    const int d = i * k_warp + lane_of_thread();
    if (d < dim) out[d] = sum.values[i] / sum.total;
  }
}

__device__ __forceinline__ float* partial_of(const AttentionParams& params, int range, int line) {
  const int64_t tile = static_cast<int64_t>(blockIdx.x) * gridDim.y + blockIdx.y;
  return params.partials + ((tile * params.plan.n_ranges + range) * k_lines + line) *
                               (2 + params.args.cache.shape.head_dim);
}

template <int n_values>
__device__ __forceinline__ void write_partial(const View& view, int line,
                                              const Sum<n_values>& sum) {
  float* part = partial_of(view.params, static_cast<int>(blockIdx.z), line);
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

// The next range of a line: its values are added under the larger maximum. Into an empty sum, what
// is joined comes out unchanged.
template <int n_values>
__device__ __forceinline__ void join(Sum<n_values>& all, const Sum<n_values>& part) {
  const float max = fmaxf(all.max, part.max);
  if (max == -INFINITY) return;
  const float kept = exponential(all.max - max), weight = exponential(part.max - max);
  all.total = all.total * kept + part.total * weight;
  all.max = max;
#pragma unroll
  for (int i = 0; i < n_values; ++i) all.values[i] = all.values[i] * kept + part.values[i] * weight;
}

template <int n_values>
__device__ __forceinline__ void join_partials(const View& view, int line) {
  const int dim = view.params.args.cache.shape.head_dim;
  Sum<n_values> all;
  for (int range = 0; range < view.tile.n_ranges; ++range) {
    const float* from = partial_of(view.params, range, line);
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

struct Shared {
  float *queries, *keys, *values;
  int* others_left;

  __device__ __forceinline__ static Shared of(int head_dim) {
    auto* queries = reinterpret_cast<float*>(shared_memory());
    float* keys = queries + k_lines * head_dim;
    float* values = keys + k_chunk * padded(head_dim);
    return {queries, keys, values, reinterpret_cast<int*>(values + k_chunk * padded(head_dim))};
  }
};

// One range for the lines of this warp.
template <DType dtype, int n_values>
__device__ __forceinline__ void add_range(const View& view, int range, const Shared& shared,
                                          Sum<n_values> (&all)[k_lines_of_warp]) {
  const AttentionArgs& args = view.params.args;
  const int end = view.position(view.tile.n_lines - 1) + 1;
  const int first = range * k_range;
  const int last = first + k_range < end ? first + k_range : end;
  Sum<n_values> sums[k_lines_of_warp];
  for (int chunk = first; chunk < last; chunk += k_chunk) {
    load_chunk<dtype>(view, chunk, end, shared.keys, shared.values);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < k_lines_of_warp; ++i) {
      const int line = i * k_warps + warp_of_thread();
      if (line < view.tile.n_lines)
        add_chunk(args, {shared.queries + line * args.cache.shape.head_dim, view.position(line)},
                  chunk, shared.keys, shared.values, sums[i]);
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < k_lines_of_warp; ++i) join(all[i], sums[i]);
}

template <DType dtype, int n_values>
__global__ void __launch_bounds__(k_threads, 2)
    attention_kernel(const __grid_constant__ AttentionParams params) {
  const Tile tile = params.plan.tiles[blockIdx.x];
  const View view{params, tile, static_cast<int>(blockIdx.y)};
  const Shared shared = Shared::of(params.args.cache.shape.head_dim);
  const int first = static_cast<int>(blockIdx.z);
  const int last = params.split ? first + 1 : tile.n_ranges;
  if (first >= tile.n_ranges) return;

  load_queries(view, shared.queries);
  Sum<n_values> all[k_lines_of_warp];
  for (int range = first; range < last; ++range) add_range<dtype>(view, range, shared, all);
  const bool whole = !params.split || tile.n_ranges == 1;
#pragma unroll
  for (int i = 0; i < k_lines_of_warp; ++i) {
    const int line = i * k_warps + warp_of_thread();
    if (line >= tile.n_lines) continue;
    if (whole)
      write_out(view, line, all[i]);
    else
      write_partial(view, line, all[i]);
  }
  if (whole || !came_last(params, tile, shared.others_left)) return;
  for (int line = warp_of_thread(); line < tile.n_lines; line += k_warps)
    join_partials<n_values>(view, line);
}

using AttentionKernel = void (*)(AttentionParams);

// By the values a lane keeps of each line.
template <DType dtype>
AttentionKernel kernel_of(int head_dim) {
  if (head_dim <= 64) return attention_kernel<dtype, 2>;
  if (head_dim <= 128) return attention_kernel<dtype, 4>;
  return attention_kernel<dtype, 8>;
}

AttentionKernel kernel_for(const KvShape& shape) {
  if (shape.dtype == DType::f32) return kernel_of<DType::f32>(shape.head_dim);
  if (shape.dtype == DType::f16) return kernel_of<DType::f16>(shape.head_dim);
  return kernel_of<DType::q8_0>(shape.head_dim);
}

}  // namespace

void attention(Stream& stream, const AttentionArgs& args) {
  const KvShape& shape = args.cache.shape;
  if (shape.head_dim > k_max_head_dim)
    return stream.fail(error(ErrorCode::unsupported,
                             "Expected heads of at most %d dimensions but found %d", k_max_head_dim,
                             shape.head_dim));
  const int group = args.heads / shape.kv_heads;
  const AttentionPlan& plan =
      stream.step().attention(stream, {args.spans, args.n_spans, shape.page_tokens}, group);
  if (!plan.tiles) return;
  const size_t n_blocks = static_cast<size_t>(plan.n_tiles) * static_cast<size_t>(shape.kv_heads);
  AttentionParams params{};
  params.args = args;
  params.plan = plan;
  params.group = group;
  params.split = plan.n_ranges > 1 && n_blocks < k_many_blocks;
  if (params.split) {
    const size_t floats = n_blocks * static_cast<size_t>(plan.n_ranges) * k_lines *
                          static_cast<size_t>(2 + shape.head_dim);
    params.partials = static_cast<float*>(stream.workspace(floats * sizeof(float)));
    params.counters = stream.counters(n_blocks);
    if (!params.partials || !params.counters) return;
  }
  launch(stream, kernel_for(shape),
         {plan.n_tiles, shape.kv_heads, params.split ? plan.n_ranges : 1}, k_threads,
         shared_bytes_for(shape.head_dim), params);
}

}  // namespace millrace::cuda
