// Paged attention for prefill and decode in one kernel, in f32, for every cache. A query head of
// one token is a *line*; a block takes up to k_lines lines that share a kv head, so that a key is
// read once for all of them. What most caches hold has a faster kernel, in attention-mma.cu.

#include "ops/cuda/attention.cuh"
#include "ops/plugin.h"

namespace millrace::cuda {
namespace {

constexpr int k_chunk = k_warp;  // positions in shared memory at a time: one per lane
constexpr int k_max_head_dim = 256;
// More blocks than these for each multiprocessor are not made by splitting, nor larger partial
// results than free_bytes() leaves room for. By reason, not by measurement: no device has run it.
constexpr size_t k_enough_few = 2, k_enough_many = 1;
constexpr size_t k_most_partial_bytes = size_t{256} << 20;

// What a block keeps: queries, one chunk of keys and values (a column more, so that lanes that
// walk rows meet different banks), and whether it came last.
__host__ __device__ constexpr int padded(int head_dim) { return head_dim + 1; }
__host__ __device__ constexpr size_t shared_bytes_for(int head_dim) {
  return sizeof(float) * static_cast<size_t>(k_lines * head_dim + 2 * k_chunk * padded(head_dim)) +
         sizeof(int);
}

__device__ __forceinline__ void load_queries(const View& view, float* queries) {
  const AttentionArgs& args = view.params.args;
  const int dim = args.cache.shape.head_dim;
  for (int i = static_cast<int>(threadIdx.x); i < view.tile.n_lines * dim;
       i += k_attention_threads) {
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
  for (int i = static_cast<int>(threadIdx.x); i < k_chunk * dim; i += k_attention_threads) {
    const int position = first + i / dim, d = i % dim;
    float key = 0, value = 0;
    if (position < end) {
      const int page = view.params.pages[view.tile.first_page + position / page_tokens];
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
  for (int d = 0; d < dim; ++d) score = fmaf(line.query[d], keys[lane * padded(dim) + d], score);
  score *= args.scale;
  if (args.soft_cap > 0) score = args.soft_cap * tanhf(score / args.soft_cap);
  if (!seen) score = -INFINITY;
  const float max = fmaxf(sum.max, max_of_warp(score));
  if (max == -INFINITY) return;  // the same for all lanes
  const float weight = exponential(score - max);
  const float kept = exponential(sum.max - max);
  sum.total = fmaf(sum.total, kept, sum_of_warp(weight));
  sum.max = max;
#pragma unroll
  for (int i = 0; i < n_values; ++i) sum.values[i] *= kept;
  for (int j = 0; j < k_chunk; ++j) {
    const float w = shuffle(weight, j);
#pragma unroll
    for (int i = 0; i < n_values; ++i) {
      const int d = i * k_warp + lane;
      if (d < dim) sum.values[i] = fmaf(w, values[j * padded(dim) + d], sum.values[i]);
    }
  }
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
      const int line = i * k_attention_warps + warp_of_thread();
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
__global__ void __launch_bounds__(k_attention_threads, 2)
    attention_kernel(const __grid_constant__ AttentionParams params) {
  begin_kernel();
  const Tile tile = params.tiles.of[blockIdx.x];
  const View view{params, tile, static_cast<int>(blockIdx.y)};
  const Shared shared = Shared::of(params.args.cache.shape.head_dim);
  const int first = static_cast<int>(blockIdx.z);
  const int last = params.split != 0 ? first + 1 : tile.n_ranges;
  if (first >= tile.n_ranges) return;

  load_queries(view, shared.queries);
  Sum<n_values> all[k_lines_of_warp];
  for (int range = first; range < last; ++range) add_range<dtype>(view, range, shared, all);
  end_lines(view, all, shared.others_left);
}

// By the values a lane keeps of each line.
template <DType dtype>
AttentionKernel kernel_of(int head_dim) {
  if (head_dim <= 64) return attention_kernel<dtype, 2>;
  if (head_dim <= 128) return attention_kernel<dtype, 4>;
  return attention_kernel<dtype, 8>;
}

bool takes_mma(const KvShape& shape) {
  return shape.dtype == DType::f16 && shape.head_dim % k_copied_halves == 0 &&
         shape.head_dim <= k_mma_head_dim;
}

AttentionLaunch launch_for(const KvShape& shape, bool many) {
  if (takes_mma(shape)) return mma_attention(shape.head_dim, many);
  const auto kernel = shape.dtype == DType::f32   ? kernel_of<DType::f32>(shape.head_dim)
                      : shape.dtype == DType::f16 ? kernel_of<DType::f16>(shape.head_dim)
                                                  : kernel_of<DType::q8_0>(shape.head_dim);
  return {kernel, shared_bytes_for(shape.head_dim)};
}

void start(Stream& stream, AttentionParams& params, const Tiles& tiles, bool many) {
  if (tiles.n == 0) return;
  const KvShape& shape = params.args.cache.shape;
  params.tiles = tiles;
  params.lines = many ? k_many_lines : k_lines;
  params.split = 0;
  const size_t n_blocks = static_cast<size_t>(tiles.n) * static_cast<size_t>(shape.kv_heads);
  // To split is faster and needs memory; without it a block walks all ranges to the same bits.
  const size_t n_enough =
      (many ? k_enough_many : k_enough_few) * static_cast<size_t>(stream.multiprocessors());
  const size_t partial_bytes =
      sizeof(float) * static_cast<size_t>(tiles.all_ranges) * static_cast<size_t>(shape.kv_heads) *
      static_cast<size_t>(params.lines) * static_cast<size_t>(2 + shape.head_dim);
  if (tiles.n_ranges > 1 && n_blocks < n_enough && partial_bytes <= k_most_partial_bytes) {
    params.partials = static_cast<float*>(stream.try_workspace(partial_bytes));
    params.split = params.partials ? 1 : 0;
  }
  if (params.split != 0) {
    params.counters = stream.counters(n_blocks);
    if (!params.counters) return;
  }
  const AttentionLaunch how = launch_for(shape, many);
  // A block beyond the ranges ends at once.
  const int n_blocks_each = params.split != 0 ? rounded_up(tiles.n_ranges) : 1;
  launch(stream, how.kernel, {tiles.n, shape.kv_heads, n_blocks_each}, k_attention_threads,
         how.shared_bytes, params);
}

}  // namespace

void attention(Stream& stream, const AttentionArgs& args) {
  const KvShape& shape = args.cache.shape;
  if (shape.head_dim > k_max_head_dim)
    return stream.fail(error(ErrorCode::unsupported,
                             "Expected heads of at most %d dimensions but found %d", k_max_head_dim,
                             shape.head_dim));
  const int group = args.heads / shape.kv_heads;
  const AttentionPlan& plan = stream.step().attention(
      stream, {args.spans, args.n_spans, shape.page_tokens}, group, takes_mma(shape));
  if (!plan.pages) return;
  AttentionParams params{};
  params.args = args;
  params.args.spans = nullptr;  // the plan has them; nothing of the host's may differ between steps
  params.pages = plan.pages;
  params.group = group;
  const int cols = args.heads * shape.head_dim;
  if (takes_mma(shape) && args.passed_to == DType::bf16 && args.out_stride == cols &&
      cols % k_columns == 0) {
    params.rounded = Rounded::of(args.out, args.n, cols);
    stream.step().left_rounded(args.out);
  }
  start(stream, params, plan.few, false);
  start(stream, params, plan.many, true);
}

}  // namespace millrace::cuda
