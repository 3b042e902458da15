// Paged attention over an f16 cache on tensor cores. For 16 lines a range of keys and values makes,
// with mma.m16n8k16, scores[16 lines, 128 positions], of these weights under the largest of the
// line, and sums[16 lines, head_dim]; the ranges are joined in order. Blocks come in two kinds,
// which give a line the same bits, because every sum has the same terms in the same order:
//  - of few lines, for who decodes: each warp scores a piece of the range and gathers a slice of
//    head_dim from all of it, so that each copies what it reads itself. Weights change hands in
//    shared memory.
//  - of many lines, for prompts: each warp has 16 lines of its own, and all share what is copied.
// While a block works on the keys of a range its values are on their way, and while it works on the
// values the keys of the next range are.
//
// Queries and weights are f32 cut into two f16 each, which keeps 22 bits of those within 2^-12 of
// the largest and loses little of the sum with the rest: a line of queries is first scaled by a
// power of two that puts its largest value below 2^15, weights, of which the largest is 1, by 2^14.

#include "ops/cuda/attention.cuh"
#include "ops/cuda/power.cuh"

namespace millrace::cuda {
namespace {

constexpr int k_piece = k_range / k_attention_warps;  // positions whose weights are added up apart
constexpr int k_pieces = k_attention_warps;
constexpr int k_piece_columns = k_piece / 8;                // products of 8 positions each
constexpr int k_steps = k_range / 16;                       // of the sum over positions
constexpr int k_weight_chunks = k_range / k_copied_halves;  // of a line of weights
constexpr float k_weight_scale = 16384.0f;
static_assert(k_lines == 16 && k_piece == 32);

// Rows of `chunks` pieces of 16 bytes in shared memory, turned by the row so that the eight rows of
// a matrix meet different banks.
template <int chunks>
__device__ __forceinline__ char* chunk_of(char* rows, int row, int chunk) {
  constexpr int k_alike = (8 + chunks - 1) / chunks;  // rows of 128 bytes
  constexpr int k_turned = 8 / k_alike;
  return rows + (row * chunks + (chunk ^ (row / k_alike % k_turned))) * 16;
}

template <int dims>
constexpr int k_chunks = dims / k_copied_halves;  // of a row of head_dim values

// One warp for each line; lines beyond the last become zeros. dims: head_dim, filled up with zeros.
template <int dims>
__device__ __forceinline__ void load_queries(const View& view, int n_lines, char* high_rows,
                                             char* low_rows, float* units) {
  constexpr int k_values = dims / k_warp;
  const AttentionArgs& args = view.params.args;
  const int dim = args.cache.shape.head_dim;
  for (int line = warp_of_thread(); line < n_lines; line += k_attention_warps) {
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
      const int chunk = d / k_copied_halves, at = d % k_copied_halves;
      reinterpret_cast<uint16_t*>(chunk_of<k_chunks<dims>>(high_rows, line, chunk))[at] = high;
      reinterpret_cast<uint16_t*>(chunk_of<k_chunks<dims>>(low_rows, line, chunk))[at] =
          f16_of_f32(scaled - f32_of_f16(high));
    }
    if (lane_of_thread() == 0) units[line] = power_for(most, -1);
  }
}

// Where the keys and values of one sequence and head lie.
struct Rows {
  const char* keys;
  const int32_t* pages;
  int64_t page_bytes;
  int side_bytes;               // from a key to its value
  int page_tokens, shift, dim;  // shift: log2 of page_tokens, -1 where there is none
  int end;                      // positions from here on nobody sees

  __device__ __forceinline__ static Rows of(const View& view, int end) {
    const KvCacheView& cache = view.params.args.cache;
    const KvShape& shape = cache.shape;
    int shift = 0;
    while (1 << shift < shape.page_tokens) ++shift;
    return {plane_of<DType::f16>(cache, 0, view.params.args.layer, 0, view.kv_head),
            view.params.pages + view.tile.first_page,
            static_cast<int64_t>(cache.page_bytes),
            shape.kv_heads * static_cast<int>(plane_bytes<DType::f16>(shape)),
            shape.page_tokens,
            1 << shift == shape.page_tokens ? shift : -1,
            shape.head_dim,
            end};
  }
  __device__ __forceinline__ const char* row(int position, int side) const {
    const int page = shift >= 0 ? position >> shift : position / page_tokens;
    const int at = (position - page * page_tokens) * dim * 2 + side * side_bytes;
    return keys + pages[page] * page_bytes + at;
  }
};

// Starts the copy of `chunks` chunks from `first_chunk` on of n_rows rows from `first` on, by
// n_threads threads of which this is one; rows that nobody sees become zeros, for a page's
// unwritten rows may hold NaN. A range that nobody sees is an empty group, so that waits count
// alike.
template <int side, int n_rows, int chunks, int n_threads>
__device__ __forceinline__ void copy_rows(const Rows& rows, int first, int first_chunk,
                                          bool is_seen, int thread, char* to) {
#pragma unroll 1
  for (int i = thread; is_seen && i < n_rows * chunks; i += n_threads) {
    const int row = i / chunks, chunk = i % chunks;
    const int at = (first_chunk + chunk) * k_copied_halves;
    const bool is_there = first + row < rows.end && at < rows.dim;
    const char* from = is_there ? rows.row(first + row, side) + at * 2 : rows.keys;
    copy_async_16(chunk_of<chunks>(to, row, chunk), from, is_there);
  }
  commit_copies();
}

// The fragment of rows [row, row + 16) and columns [16 * step, + 16) of halves.
template <int chunks>
__device__ __forceinline__ void load_fragment(uint32_t (&fragment)[4], char* rows, int row,
                                              int step) {
  const int lane = lane_of_thread();
  load_matrices(fragment, chunk_of<chunks>(rows, row + lane % 16, step * 2 + lane / 16));
}

// This lane's scores of n_columns * 8 positions: lines lane / 4 and + 8; positions
// 8 * column + 2 * (lane % 4) and the next.
template <int n_columns>
struct Scores {
  float of[n_columns][4] = {};
};

// One step of the sum over head_dim, for the keys' rows [0, 8 * n_columns).
template <int dims, int n_columns>
__device__ __forceinline__ void score(const uint32_t (&high)[4], const uint32_t (&low)[4],
                                      char* keys, int step, Scores<n_columns>& scores) {
  const int lane = lane_of_thread();
#pragma unroll
  for (int pair = 0; pair < n_columns / 2; ++pair) {
    uint32_t b[4];
    load_matrices(b, chunk_of<k_chunks<dims>>(keys, pair * 16 + lane / 16 * 8 + lane % 8,
                                              step * 2 + lane / 8 % 2));
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float(&sum)[4] = scores.of[pair * 2 + half];
      multiply_f16(sum, high, b[2 * half], b[2 * half + 1]);
      multiply_f16(sum, low, b[2 * half], b[2 * half + 1]);
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

// What of the scores counts, and how much: of `first_line` + lane / 4 (side 0) and + 8 (side 1).
// Returns the largest of each.
template <int n_columns>
__device__ __forceinline__ void scale(const View& view, int first_line, const float* units,
                                      int first, Scores<n_columns>& scores, float (&most)[2]) {
  const AttentionArgs& args = view.params.args;
  const int lane = lane_of_thread();
#pragma unroll
  for (int side = 0; side < 2; ++side) {
    const int line = first_line + lane / 4 + side * 8;
    const bool is_there = line < view.tile.n_lines;
    const int last_seen = is_there ? view.position(line) : -1;
    const int first_seen = args.window == 0 ? 0 : last_seen - args.window + 1;
    const float by = units[line] * args.scale;
    float max = -INFINITY;
#pragma unroll
    for (int i = 0; i < n_columns * 2; ++i) {
      float& score = scores.of[i / 2][side * 2 + i % 2];
      const int position = first + i / 2 * 8 + lane % 4 * 2 + i % 2;
      score *= by;
      if (args.soft_cap > 0) score = args.soft_cap * tanhf(score / args.soft_cap);
      if (position > last_seen || position < first_seen) score = -INFINITY;
      max = fmaxf(max, score);
    }
    most[side] = max_of_row(max);
  }
}

// Scores become weights under the largest of the range; returns what the piece of `first_column`
// adds up to.
template <int n_columns>
__device__ __forceinline__ float weigh(Scores<n_columns>& scores, int first_column, int side,
                                       float most) {
  const float from = most == -INFINITY ? 0.0f : most;
  float total = 0;
#pragma unroll
  for (int i = 0; i < k_piece_columns * 2; ++i) {
    float& score = scores.of[first_column + i / 2][side * 2 + i % 2];
    score = exponential(score - from);
    total += score;
  }
  return sum_of_row(total);
}

// Two weights as two f16 each, times k_weight_scale: the nearest, and what is left.
struct Halves {
  uint32_t high, low;

  __device__ __forceinline__ static Halves of(float a, float b) {
    a *= k_weight_scale;
    b *= k_weight_scale;
    const uint16_t high_a = f16_of_f32(a), high_b = f16_of_f32(b);
    const uint16_t low_a = f16_of_f32(a - f32_of_f16(high_a));
    const uint16_t low_b = f16_of_f32(b - f32_of_f16(high_b));
    return {high_a | static_cast<uint32_t>(high_b) << 16, low_a | static_cast<uint32_t>(low_b)
                                                                      << 16};
  }
};

// Of two lines, lane / 4 and + 8: the running softmax and the columns 8 * tile + 2 * (lane % 4) and
// the next of its values.
template <int n_tiles>
struct Pair {
  float max[2] = {-INFINITY, -INFINITY}, total[2] = {};
  float values[n_tiles][4] = {};
};

// The weighted values of a range, times k_weight_scale.
template <int n_tiles>
struct Values {
  float of[n_tiles][4] = {};
};

// One step of the sum over positions: rows [16 * step, + 16) of values, columns from first_pair on.
template <int chunks, int n_tiles>
__device__ __forceinline__ void gather(const uint32_t (&high)[4], const uint32_t (&low)[4],
                                       char* values, int step, int first_pair,
                                       Values<n_tiles>& sums) {
  const int lane = lane_of_thread();
#pragma unroll
  for (int pair = 0; pair < n_tiles / 2; ++pair) {
    uint32_t b[4];
    load_matrices_transposed(
        b, chunk_of<chunks>(values, step * 16 + lane % 16, (first_pair + pair) * 2 + lane / 16));
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float(&sum)[4] = sums.of[pair * 2 + half];
      multiply_f16(sum, high, b[2 * half], b[2 * half + 1]);
      multiply_f16(sum, low, b[2 * half], b[2 * half + 1]);
    }
  }
}

// Joins a range to some of the tiles.
template <int n_tiles, int n_all>
__device__ __forceinline__ void join(const Joint (&joints)[2], const Values<n_tiles>& range,
                                     int first_tile, Pair<n_all>& all) {
#pragma unroll
  for (int tile = 0; tile < n_tiles; ++tile)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float& value = all.values[first_tile + tile][i];
      value = joints[i / 2](value, range.of[tile][i] * (1.0f / k_weight_scale));
    }
}

// What a block ends with, of the two lines of this lane and columns from first_column on.
template <int n_tiles>
__device__ __forceinline__ void leave(const View& view, int first_line, int first_column,
                                      const Pair<n_tiles>& all) {
  const int dim = view.params.args.cache.shape.head_dim, lane = lane_of_thread();
  const bool whole = writes_out(view);
#pragma unroll
  for (int side = 0; side < 2; ++side) {
    const int line = first_line + lane / 4 + side * 8;
    if (line >= view.tile.n_lines) continue;
    const bool is_first = lane % 4 == 0 && first_column == 0;
    float* part = nullptr;
    if (whole) {
      if (is_first) write_unit(view, line);
    } else {
      part = partial_of(view, static_cast<int>(blockIdx.z), line);
      if (is_first) {
        part[0] = all.max[side];
        part[1] = all.total[side];
      }
    }
#pragma unroll
    for (int tile = 0; tile < n_tiles; ++tile) {
      const int d = first_column + tile * 8 + lane % 4 * 2;
      if (d >= dim) continue;
      const float* two = all.values[tile] + side * 2;
      if (whole) {
        write_values(view, line, d, two[0] / all.total[side], two[1] / all.total[side]);
      } else {
        part[2 + d] = two[0];
        part[3 + d] = two[1];
      }
    }
  }
}

// The ranges that a block takes, and where the positions end that its lines see.
struct Walk {
  int first, last, end;

  __device__ __forceinline__ static Walk of(const View& view) {
    const AttentionParams& params = view.params;
    const int window = params.args.window;
    const int begin = window > 0 ? view.position(0) - window + 1 : 0;
    Walk walk{static_cast<int>(blockIdx.z), view.tile.n_ranges,
              view.position(view.tile.n_lines - 1) + 1};
    if (params.split != 0) walk.last = walk.first + 1;
    while (walk.first + 1 < walk.last && (walk.first + 1) * k_range <= begin) ++walk.first;
    return walk;
  }
  // Of the sum over positions of a range; what no line sees adds nothing.
  __device__ __forceinline__ int steps(int range) const {
    const int seen = end - range * k_range;
    return seen >= k_range ? k_steps : (seen + 15) / 16;
  }
};

template <int dims>
struct FewRoom {
  static constexpr int k_slice = dims / k_attention_warps;  // of head_dim, a warp's
  static constexpr int k_halves = k_lines * (dims < k_range ? k_range : dims) * 2;  // bytes
  static constexpr int k_keys = k_piece * dims * 2, k_values = k_range * k_slice * 2;
  static constexpr int k_stats = k_pieces * k_lines;
  static constexpr int k_bytes =
      2 * k_halves + k_attention_warps * (k_keys + k_values) + (2 * k_stats + k_lines) * 4 + 16;

  char *high, *low;     // of queries, then of weights
  char *keys, *values;  // of this warp
  float *most, *totals, *units;
  int* others_left;

  __device__ __forceinline__ static FewRoom of() {
    char* room = shared_memory();
    char* own = room + 2 * k_halves + warp_of_thread() * (k_keys + k_values);
    auto* stats =
        reinterpret_cast<float*>(room + 2 * k_halves + k_attention_warps * (k_keys + k_values));
    float* units = stats + 2 * k_stats;
    return {room,  room + k_halves, own,   own + k_keys,
            stats, stats + k_stats, units, reinterpret_cast<int*>(units + k_lines)};
  }
};

// The largest score of this warp's piece; until all have met.
template <int dims>
__device__ __forceinline__ void leave_most(const FewRoom<dims>& room, const float (&most)[2]) {
  const int lane = lane_of_thread();
#pragma unroll
  for (int side = 0; side < 2; ++side)
    if (lane % 4 == 0) room.most[warp_of_thread() * k_lines + lane / 4 + side * 8] = most[side];
}

// The weights of this warp's piece and what they add up to, under the largest of all; until all
// have met. `most` becomes that.
template <int dims>
__device__ __forceinline__ void leave_weights(const FewRoom<dims>& room,
                                              Scores<k_piece_columns>& scores, float (&most)[2]) {
  const int warp = warp_of_thread(), lane = lane_of_thread();
#pragma unroll
  for (int side = 0; side < 2; ++side) {
    const int line = lane / 4 + side * 8;
    for (int piece = 0; piece < k_pieces; ++piece)
      most[side] = fmaxf(most[side], room.most[piece * k_lines + line]);
    const float total = weigh(scores, 0, side, most[side]);
    if (lane % 4 == 0) room.totals[warp * k_lines + line] = total;
#pragma unroll
    for (int column = 0; column < k_piece_columns; ++column) {
      const float* two = scores.of[column] + side * 2;
      const Halves halves = Halves::of(two[0], two[1]);
      const int chunk = warp * k_piece_columns + column;
      char* high = chunk_of<k_weight_chunks>(room.high, line, chunk);
      char* low = chunk_of<k_weight_chunks>(room.low, line, chunk);
      reinterpret_cast<uint32_t*>(high)[lane % 4] = halves.high;
      reinterpret_cast<uint32_t*>(low)[lane % 4] = halves.low;
    }
  }
}

// Of all pieces, in order.
template <int dims>
__device__ __forceinline__ float total_of(const FewRoom<dims>& room, int side) {
  float total = 0;
  for (int piece = 0; piece < k_pieces; ++piece)
    total += room.totals[piece * k_lines + lane_of_thread() / 4 + side * 8];
  return total;
}

template <int dims>
__global__ void __launch_bounds__(k_attention_threads, 3)
    few_lines_kernel(const __grid_constant__ AttentionParams params) {
  using Room = FewRoom<dims>;
  constexpr int k_tiles = Room::k_slice / 8;
  begin_kernel();
  const Tile tile = params.tiles.of[blockIdx.x];
  const View view{params, tile, static_cast<int>(blockIdx.y)};
  const auto room = Room::of();
  if (static_cast<int>(blockIdx.z) >= tile.n_ranges) return;
  const Walk walk = Walk::of(view);
  const int warp = warp_of_thread(), lane = lane_of_thread();
  const Rows rows = Rows::of(view, walk.end);
  const auto piece_of = [&](int range) { return range * k_range + warp * k_piece; };
  const auto copy_keys = [&](int range) {
    copy_rows<0, k_piece, k_chunks<dims>, k_warp>(rows, piece_of(range), 0, range < walk.last, lane,
                                                  room.keys);
  };
  const auto copy_values = [&](int range) {
    copy_rows<1, k_range, k_chunks<Room::k_slice>, k_warp>(rows, range * k_range,
                                                           warp * k_chunks<Room::k_slice>,
                                                           range < walk.last, lane, room.values);
  };
  copy_keys(walk.first);
  copy_values(walk.first);
  load_queries<dims>(view, k_lines, room.high, room.low, room.units);
  __syncthreads();
  uint32_t high[dims / 16][4], low[dims / 16][4];
#pragma unroll
  for (int step = 0; step < dims / 16; ++step) {
    load_fragment<k_chunks<dims>>(high[step], room.high, 0, step);
    load_fragment<k_chunks<dims>>(low[step], room.low, 0, step);
  }

  Pair<k_tiles> all;
  for (int range = walk.first; range < walk.last; ++range) {
    Scores<k_piece_columns> scores;
    wait_copies<1>();
    order_warp();  // the keys are there
#pragma unroll
    for (int step = 0; step < dims / 16; ++step)
      score<dims>(high[step], low[step], room.keys, step, scores);
    order_warp();  // and nobody reads them any more
    copy_keys(range + 1);
    float most[2];
    scale(view, 0, room.units, piece_of(range), scores, most);
    leave_most(room, most);
    __syncthreads();
    leave_weights(room, scores, most);
    wait_copies<1>();
    __syncthreads();  // the values are there, and all weights
    Joint joints[2];
#pragma unroll
    for (int side = 0; side < 2; ++side)
      joints[side] = Joint::of(all.max[side], all.total[side], most[side], total_of(room, side));
    Values<k_tiles> sums;
#pragma unroll 2
    for (int step = 0; step < walk.steps(range); ++step) {
      uint32_t weights_high[4], weights_low[4];
      load_fragment<k_weight_chunks>(weights_high, room.high, 0, step);
      load_fragment<k_weight_chunks>(weights_low, room.low, 0, step);
      gather<k_chunks<Room::k_slice>>(weights_high, weights_low, room.values, step, 0, sums);
    }
    order_warp();  // nobody reads the values any more
    copy_values(range + 1);
    join(joints, sums, 0, all);
  }

  leave(view, 0, warp * Room::k_slice, all);
  if (!writes_out(view)) join_left<dims / k_warp>(view, room.others_left);
}

template <int dims>
struct ManyRoom {
  static constexpr int k_queries = k_many_lines * dims * 2;  // bytes; of high and of low parts
  static constexpr int k_rows = k_range * dims * 2;          // of keys and of values
  static constexpr int k_bytes = 2 * k_queries + 2 * k_rows + k_many_lines * 4 + 16;

  char *high, *low, *keys, *values;
  float* units;
  int* others_left;

  __device__ __forceinline__ static ManyRoom of() {
    char* room = shared_memory();
    auto* units = reinterpret_cast<float*>(room + 2 * k_queries + 2 * k_rows);
    return {room,
            room + k_queries,
            room + 2 * k_queries,
            room + 2 * k_queries + k_rows,
            units,
            reinterpret_cast<int*>(units + k_many_lines)};
  }
};

template <int dims>
__global__ void __launch_bounds__(k_attention_threads, 2)
    many_lines_kernel(const __grid_constant__ AttentionParams params) {
  using Room = ManyRoom<dims>;
  constexpr int k_at_once = 32 / 8;  // tiles of head_dim that are gathered together
  static_assert(k_many_lines == k_attention_warps * k_lines);
  begin_kernel();
  const Tile tile = params.tiles.of[blockIdx.x];
  const View view{params, tile, static_cast<int>(blockIdx.y)};
  const auto room = Room::of();
  if (static_cast<int>(blockIdx.z) >= tile.n_ranges) return;
  const Walk walk = Walk::of(view);
  const int first_line = warp_of_thread() * k_lines, thread = static_cast<int>(threadIdx.x);
  const Rows rows = Rows::of(view, walk.end);
  const auto copy_keys = [&](int range) {
    copy_rows<0, k_range, k_chunks<dims>, k_attention_threads>(
        rows, range * k_range, 0, range < walk.last, thread, room.keys);
  };
  const auto copy_values = [&](int range) {
    copy_rows<1, k_range, k_chunks<dims>, k_attention_threads>(
        rows, range * k_range, 0, range < walk.last, thread, room.values);
  };
  copy_keys(walk.first);
  copy_values(walk.first);
  load_queries<dims>(view, k_many_lines, room.high, room.low, room.units);

  Pair<dims / 8> all;
  for (int range = walk.first; range < walk.last; ++range) {
    Scores<k_range / 8> scores;
    wait_copies<1>();
    __syncthreads();  // the keys are there, and at first the queries
#pragma unroll 1
    for (int step = 0; step < dims / 16; ++step) {
      uint32_t high[4], low[4];
      load_fragment<k_chunks<dims>>(high, room.high, first_line, step);
      load_fragment<k_chunks<dims>>(low, room.low, first_line, step);
      score<dims>(high, low, room.keys, step, scores);
    }
    __syncthreads();  // and nobody reads them any more
    copy_keys(range + 1);
    float most[2];
    scale(view, first_line, room.units, range * k_range, scores, most);
    Joint joints[2];
#pragma unroll
    for (int side = 0; side < 2; ++side) {
      float total = 0;
#pragma unroll
      for (int piece = 0; piece < k_pieces; ++piece)
        total += weigh(scores, piece * k_piece_columns, side, most[side]);
      joints[side] = Joint::of(all.max[side], all.total[side], most[side], total);
    }
    uint32_t high[k_steps][4], low[k_steps][4];
#pragma unroll
    for (int i = 0; i < k_steps * 4; ++i) {
      const float* two = scores.of[i / 2] + i % 2 * 2;
      const Halves halves = Halves::of(two[0], two[1]);
      high[i / 4][i % 4] = halves.high;
      low[i / 4][i % 4] = halves.low;
    }
    wait_copies<1>();
    __syncthreads();  // the values are there
#pragma unroll
    for (int first_tile = 0; first_tile < dims / 8; first_tile += k_at_once) {
      Values<k_at_once> sums;
#pragma unroll
      for (int step = 0; step < k_steps; ++step) {
        if (step >= walk.steps(range)) break;
        gather<k_chunks<dims>>(high[step], low[step], room.values, step, first_tile / 2, sums);
      }
      join(joints, sums, first_tile, all);
    }
    __syncthreads();  // nobody reads them any more
    copy_values(range + 1);
  }

  leave(view, first_line, 0, all);
  if (!writes_out(view)) join_left<dims / k_warp>(view, room.others_left);
}

}  // namespace

AttentionLaunch mma_attention(int head_dim, bool many) {
  if (many && head_dim <= 64) return {many_lines_kernel<64>, ManyRoom<64>::k_bytes};
  if (many) return {many_lines_kernel<128>, ManyRoom<128>::k_bytes};
  if (head_dim <= 64) return {few_lines_kernel<64>, FewRoom<64>::k_bytes};
  return {few_lines_kernel<128>, FewRoom<128>::k_bytes};
}

}  // namespace millrace::cuda
