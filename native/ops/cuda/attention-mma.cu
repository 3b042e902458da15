// Paged attention over an f16 cache on tensor cores. Each warp of a block takes one piece of a
// range, streams its keys and values into shared memory of its own, and makes with mma.m16n8k16
// scores[16 lines, 32 positions] and then sums[16 lines, head_dim]; the pieces are joined in order.
// While a warp works on the keys of a piece its values are on their way, and while it works on the
// values the keys of the next range are.
//
// Queries and weights are f32 cut into two f16 each, which keeps 22 bits of those within 2^-12 of
// the largest and loses little of the sum with the rest: a line of queries is first scaled by a
// power of two that puts its largest value below 2^15, weights, of which the largest is 1, by 2^14.

#include "ops/cuda/attention.cuh"
#include "ops/cuda/power.cuh"

namespace millrace::cuda {
namespace {

constexpr int k_piece = k_range / k_attention_warps;  // positions of a warp
constexpr int k_columns = k_piece / 8;                // products of 8 positions each
constexpr int k_turned = 8;                           // chunks of a row that change places
static_assert(k_lines == 16 && k_piece == 32);

// Rows of `dims` halves in shared memory, whose chunks of 16 bytes are turned by the row so that
// the eight rows of a matrix meet different banks.
template <int dims>
__device__ __forceinline__ char* chunk_of(char* rows, int row, int chunk) {
  return rows + row * dims * static_cast<int>(sizeof(uint16_t)) + (chunk ^ (row % k_turned)) * 16;
}

// dims: head_dim, filled up with zeros.
template <int dims>
struct Room {
  static constexpr int k_queries = k_lines * dims * 2;  // bytes; of high and of low parts
  static constexpr int k_rows = k_piece * dims * 2;     // of keys and of values
  static constexpr int k_of_warp = 2 * k_rows;
  static constexpr int k_stats =
      k_attention_warps * k_lines * 2 * 4;  // max and total of each piece
  static constexpr int k_bytes =
      2 * k_queries + k_attention_warps * k_of_warp + k_stats + k_lines * 4 + 16;
  static_assert(k_lines * dims * 4 <= k_rows);  // a piece's sums take the place of its values

  char *high, *low, *keys, *values;
  float *stats, *units;
  int* others_left;

  __device__ __forceinline__ static Room of() {
    char* room = shared_memory();
    char* own = room + 2 * k_queries + warp_of_thread() * k_of_warp;
    auto* stats = reinterpret_cast<float*>(room + 2 * k_queries + k_attention_warps * k_of_warp);
    float* units = stats + k_stats / 4;
    return {room,
            room + k_queries,
            own,
            own + k_rows,
            stats,
            units,
            reinterpret_cast<int*>(units + k_lines)};
  }
  // What warp `warp` leaves of its piece.
  __device__ __forceinline__ float* sums_of(int warp) const {
    return reinterpret_cast<float*>(shared_memory() + 2 * k_queries + warp * k_of_warp + k_rows);
  }
  __device__ __forceinline__ float* stats_of(int warp, int line) const {
    return stats + (warp * k_lines + line) * 2;
  }
};

// One warp for each line; lines beyond the last become zeros.
template <int dims>
__device__ __forceinline__ void load_queries(const View& view, const Room<dims>& room) {
  constexpr int k_values = dims / k_warp;
  const AttentionArgs& args = view.params.args;
  const int dim = args.cache.shape.head_dim;
  for (int line = warp_of_thread(); line < k_lines; line += k_attention_warps) {
    float values[k_values], most = 0;
#pragma unroll
    for (int i = 0; i < k_values; ++i) {
      const int d = i * k_warp + lane_of_thread();
      const bool is_there = d < dim && line < view.tile.n_lines;
      values[i] =
          is_there ? args.q[view.row(line) * args.q_stride + view.head(line) * dim + d] : 0.0f;
      most = fmaxf(most, fabsf(values[i]));
    }
    most = max_of_warp(most);
    const float power = power_for(most, 1);
#pragma unroll
    for (int i = 0; i < k_values; ++i) {
      const int d = i * k_warp + lane_of_thread();
      const float scaled = values[i] * power;
      const uint16_t high = f16_of_f32(scaled);
      const int at = d % k_copied_halves;
      reinterpret_cast<uint16_t*>(chunk_of<dims>(room.high, line, d / k_copied_halves))[at] = high;
      reinterpret_cast<uint16_t*>(chunk_of<dims>(room.low, line, d / k_copied_halves))[at] =
          f16_of_f32(scaled - f32_of_f16(high));
    }
    if (lane_of_thread() == 0) room.units[line] = power_for(most, -1);
  }
}

// Starts the copy of one side of a piece; positions from `end` on become zeros, for a page's
// unwritten rows may hold NaN. What nobody sees is an empty group, so that waits count alike.
template <int dims>
__device__ __forceinline__ void copy_piece(const View& view, int first, int end, int side,
                                           bool is_seen, char* to) {
  constexpr int k_chunks = dims / k_copied_halves;
  const KvCacheView& cache = view.params.args.cache;
  const int dim = cache.shape.head_dim, page_tokens = cache.shape.page_tokens;
  for (int i = lane_of_thread(); is_seen && i < k_piece * k_chunks; i += k_warp) {
    const int row = i / k_chunks, chunk = i % k_chunks;
    const int position = first + row;
    const bool is_there = position < end && chunk * k_copied_halves < dim;
    const char* from = static_cast<const char*>(cache.data);
    if (is_there) {
      const int page = view.params.plan.pages[view.tile.first_page + position / page_tokens];
      from = plane_of<DType::f16>(cache, page, view.params.args.layer, side, view.kv_head) +
             (position % page_tokens * dim + chunk * k_copied_halves) * 2;
    }
    copy_async_16(chunk_of<dims>(to, row, chunk), from, is_there);
  }
  commit_copies();
}

// This lane's scores: rows lane / 4 and + 8; positions 8 * column + 2 * (lane % 4) and the next.
struct Scores {
  float of[k_columns][4] = {};
};

template <int dims>
__device__ __forceinline__ void score(const Room<dims>& room, Scores& scores) {
  const int lane = lane_of_thread();
#pragma unroll
  for (int step = 0; step < dims / 16; ++step) {
    uint32_t high[4], low[4];
    load_matrices(high, chunk_of<dims>(room.high, lane % 16, step * 2 + lane / 16));
    load_matrices(low, chunk_of<dims>(room.low, lane % 16, step * 2 + lane / 16));
#pragma unroll
    for (int pair = 0; pair < k_columns / 2; ++pair) {
      uint32_t b[4];
      load_matrices(b, chunk_of<dims>(room.keys, pair * 16 + lane / 16 * 8 + lane % 8,
                                      step * 2 + lane / 8 % 2));
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float(&sum)[4] = scores.of[pair * 2 + half];
        multiply_f16(sum, high, b[2 * half], b[2 * half + 1]);
        multiply_f16(sum, low, b[2 * half], b[2 * half + 1]);
      }
    }
  }
}

// Over the four lanes that share a row, in every one of them.
__device__ __forceinline__ float max_of_row(float value) {
  value = fmaxf(value, shuffle_xor(value, 1));
  return fmaxf(value, shuffle_xor(value, 2));
}
__device__ __forceinline__ float sum_of_row(float value) {
  value += shuffle_xor(value, 1);
  return value + shuffle_xor(value, 2);
}

// Scores become weights under the largest of their row; leaves max and total for the join.
template <int dims>
__device__ __forceinline__ void weigh(const View& view, const Room<dims>& room, int first,
                                      Scores& scores) {
  const AttentionArgs& args = view.params.args;
  const int lane = lane_of_thread();
#pragma unroll
  for (int side = 0; side < 2; ++side) {
    const int line = lane / 4 + side * 8;
    const bool is_there = line < view.tile.n_lines;
    const int last_seen = is_there ? view.position(line) : -1;
    const int first_seen = args.window == 0 ? 0 : last_seen - args.window + 1;
    const float scale = room.units[line] * args.scale;
    float max = -INFINITY;
#pragma unroll
    for (int i = 0; i < k_columns * 2; ++i) {
      float& score = scores.of[i / 2][side * 2 + i % 2];
      const int position = first + i / 2 * 8 + lane % 4 * 2 + i % 2;
      score *= scale;
      if (args.soft_cap > 0) score = args.soft_cap * tanhf(score / args.soft_cap);
      if (position > last_seen || position < first_seen) score = -INFINITY;
      max = fmaxf(max, score);
    }
    max = max_of_row(max);
    const float from = max == -INFINITY ? 0.0f : max;
    float total = 0;
#pragma unroll
    for (int i = 0; i < k_columns * 2; ++i) {
      float& score = scores.of[i / 2][side * 2 + i % 2];
      score = exponential(score - from);
      total += score;
    }
    total = sum_of_row(total);
    if (lane % 4 == 0) {
      float* stats = room.stats_of(warp_of_thread(), line);
      stats[0] = max;
      stats[1] = total;
    }
  }
}

// Two f32 as two f16 each: the nearest, and what is left.
struct Halves {
  uint32_t high, low;
};
__device__ __forceinline__ Halves halves_of(float a, float b) {
  const uint16_t high_a = f16_of_f32(a), high_b = f16_of_f32(b);
  const uint16_t low_a = f16_of_f32(a - f32_of_f16(high_a));
  const uint16_t low_b = f16_of_f32(b - f32_of_f16(high_b));
  return {high_a | static_cast<uint32_t>(high_b) << 16, low_a | static_cast<uint32_t>(low_b) << 16};
}

constexpr float k_weight_scale = 16384.0f;

// The weighted values of a piece, times k_weight_scale.
template <int dims>
struct Values {
  float of[dims / 8][4] = {};
};

template <int dims>
__device__ __forceinline__ void gather(const Room<dims>& room, const Scores& weights,
                                       Values<dims>& sums) {
  const int lane = lane_of_thread();
#pragma unroll
  for (int step = 0; step < k_piece / 16; ++step) {
    uint32_t high[4], low[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float(&from)[4] = weights.of[step * 2 + i / 2];
      const Halves halves =
          halves_of(from[i % 2 * 2] * k_weight_scale, from[i % 2 * 2 + 1] * k_weight_scale);
      high[i] = halves.high;
      low[i] = halves.low;
    }
#pragma unroll
    for (int pair = 0; pair < dims / 16; ++pair) {
      uint32_t b[4];
      load_matrices_transposed(
          b, chunk_of<dims>(room.values, step * 16 + lane % 16, pair * 2 + lane / 16));
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float(&sum)[4] = sums.of[pair * 2 + half];
        multiply_f16(sum, high, b[2 * half], b[2 * half + 1]);
        multiply_f16(sum, low, b[2 * half], b[2 * half + 1]);
      }
    }
  }
}

// Where the values were: [lines, dims].
template <int dims>
__device__ __forceinline__ void leave(const View& view, const Room<dims>& room,
                                      const Values<dims>& sums) {
  const int lane = lane_of_thread();
  float* out = room.sums_of(warp_of_thread());
#pragma unroll
  for (int tile = 0; tile < dims / 8; ++tile)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int line = lane / 4 + i / 2 * 8;
      if (line < view.tile.n_lines)
        out[line * dims + tile * 8 + lane % 4 * 2 + i % 2] =
            sums.of[tile][i] * (1.0f / k_weight_scale);
    }
}

template <int dims>
__device__ __forceinline__ void leave_nothing(const Room<dims>& room) {
  const int line = lane_of_thread();
  if (line < k_lines) room.stats_of(warp_of_thread(), line)[0] = -INFINITY;
}

// The pieces of a range, joined in order, for one line.
template <int dims>
__device__ __forceinline__ Sum<dims / k_warp> range_of(const Room<dims>& room, int line) {
  Sum<dims / k_warp> range;
  for (int warp = 0; warp < k_attention_warps; ++warp) {
    Sum<dims / k_warp> piece;
    piece.max = room.stats_of(warp, line)[0];
    piece.total = room.stats_of(warp, line)[1];
#pragma unroll
    for (int i = 0; i < dims / k_warp; ++i)
      piece.values[i] = room.sums_of(warp)[line * dims + i * k_warp + lane_of_thread()];
    join(range, piece);
  }
  return range;
}

template <int dims>
__global__ void __launch_bounds__(k_attention_threads, 2)
    mma_attention_kernel(const __grid_constant__ AttentionParams params) {
  begin_kernel();
  const Tile tile = params.plan.tiles[blockIdx.x];
  const View view{params, tile, static_cast<int>(blockIdx.y)};
  const auto room = Room<dims>::of();
  const int first = static_cast<int>(blockIdx.z);
  const int last = params.split ? first + 1 : tile.n_ranges;
  if (first >= tile.n_ranges) return;

  const int end = view.position(tile.n_lines - 1) + 1;
  const int window = params.args.window;
  const int begin = window == 0 ? 0 : view.position(0) - window + 1;
  const auto begin_of = [&](int range) { return range * k_range + warp_of_thread() * k_piece; };
  const auto is_seen = [&](int range) {
    return range < last && begin_of(range) < end && begin_of(range) + k_piece > begin;
  };
  const auto copy = [&](int range, int side) {
    copy_piece<dims>(view, begin_of(range), end, side, is_seen(range),
                     side == 0 ? room.keys : room.values);
  };
  copy(first, 0);
  copy(first, 1);
  load_queries(view, room);
  __syncthreads();

  Sum<dims / k_warp> all[k_lines_of_warp];
  for (int range = first; range < last; ++range) {
    Scores scores;
    wait_copies<1>();
    order_warp();  // the keys are there
    if (is_seen(range)) score(room, scores);
    order_warp();  // and nobody reads them any more
    copy(range + 1, 0);
    if (is_seen(range)) weigh(view, room, begin_of(range), scores);
    wait_copies<1>();
    order_warp();  // the values are there
    if (is_seen(range)) {
      Values<dims> sums;
      gather(room, scores, sums);
      order_warp();  // nobody reads them any more
      leave(view, room, sums);
    } else {
      leave_nothing(room);
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < k_lines_of_warp; ++i) {
      const int line = i * k_attention_warps + warp_of_thread();
      if (line < tile.n_lines) join(all[i], range_of(room, line));
    }
    __syncthreads();
    copy(range + 1, 1);
  }

  end_lines(view, all, room.others_left);
}

template <int dims>
AttentionLaunch launch_of() {
  return {mma_attention_kernel<dims>, k_attention_threads, Room<dims>::k_bytes};
}

}  // namespace

AttentionLaunch mma_attention(int head_dim) {
  return head_dim <= 64 ? launch_of<64>() : launch_of<128>();
}

}  // namespace millrace::cuda
