// Tokens from rows of logits as sampling.h says it: one block per row, a few passes over it, no
// sort and no floating sum. Cuts by rank come down to one bound, the key of the last one kept. It
// is found by adding up bins of values; the values of the bin where the wanted measure is reached
// are ranked against each other, after they were divided further where there are too many.

#include "ops/cuda/launch.h"
#include "ops/cuda/operators.h"
#include "ops/cuda/reduce.cuh"
#include "ops/sampling.h"

namespace millrace::cuda {
namespace {

constexpr int k_threads = 1024;
constexpr int k_warps = k_threads / k_warp;
constexpr int k_bins = 2 * k_threads;
constexpr int k_room = k_threads;  // keys that can be ranked, one per thread

struct Shared {
  uint64_t sums[k_bins];
  unsigned counts[k_bins];
  uint64_t keys[k_room];
  uint64_t measures[k_room];
  uint64_t parts[k_warps];
  uint64_t bound;
  // The bin where the wanted measure is reached.
  int bin;
  unsigned in_bin;
  uint64_t before;  // what the better bins amount to

  unsigned count;
  float value;
};

struct Params {
  SampleArgs args;
  float* originals;  // [n_changes]
};

// The largest of all threads, in every thread.
__device__ __forceinline__ uint64_t max_of_block(uint64_t value, uint64_t* parts) {
  for (int mask = k_warp / 2; mask > 0; mask /= 2) {
    const uint64_t other = shuffle_xor(value, mask);
    value = other > value ? other : value;
  }
  if (lane_of_thread() == 0) parts[warp_of_thread()] = value;
  __syncthreads();
  for (int i = 0; i < k_warps; ++i) value = parts[i] > value ? parts[i] : value;
  __syncthreads();
  return value;
}

// One row on its way to a token. `bound` and `least` say what is kept, by rank and by distance.
struct Row {
  float* values;
  int width;
  float highest = 0;
  float inverse_temperature = 1;
  float least = 0;
  uint64_t bound = 1;

  __device__ __forceinline__ uint64_t weight(float value) const {
    return weight_of(value, highest, inverse_temperature);
  }
  __device__ __forceinline__ bool keeps(uint64_t key, float value) const {
    return key >= bound && (value - highest) * inverse_temperature >= least;
  }
  // In steps of equal size from the likeliest down to where weights vanish.
  __device__ __forceinline__ int bin_of(float value) const {
    constexpr float k_bins_per_nat = k_bins / 88.0f;
    const float distance = (highest - value) * inverse_temperature * k_bins_per_nat;
    return distance < k_bins - 1 ? static_cast<int>(distance) : k_bins - 1;
  }
};

// Calls body(key, value) for each value that is kept by rank.
template <class F>
__device__ __forceinline__ void for_kept(const Row& row, const F& body) {
  for (int i = static_cast<int>(threadIdx.x); i < row.width; i += k_threads) {
    const float value = row.values[i];
    const uint64_t key = rank_key(value, i);
    if (key >= row.bound) body(key, value);
  }
}

// The key of the best value, or one of NaN where any value is.
__device__ __forceinline__ uint64_t best_of(const Row& row, uint64_t* parts) {
  uint64_t best = 0;
  for (int i = static_cast<int>(threadIdx.x); i < row.width; i += k_threads) {
    const uint64_t key = rank_key(row.values[i], i);
    best = key == 0 ? k_nan_key : key > best ? key : best;
    if (key == 0) break;
  }
  return max_of_block(best, parts);
}

__device__ __forceinline__ uint64_t weight_of_kept(const Row& row, uint64_t* parts) {
  uint64_t sum = 0;
  for_kept(row, [&](uint64_t, float value) { sum += row.weight(value); });
  return sum_of_block<k_warps>(sum, parts);
}

// Values between two keys, both included, in one bin of Row::bin_of (-1: in any).
struct Edge {
  int bin = -1;
  uint64_t low = 1, high = ~uint64_t{0};

  __device__ __forceinline__ bool has(const Row& row, uint64_t key, float value) const {
    return key >= low && key <= high && (bin < 0 || row.bin_of(value) == bin);
  }
  // Of a key's distance from `high`, to the number of its bin.
  __device__ __forceinline__ int shift() const {
    constexpr int k_bits = 11;  // of a bin's number
    static_assert(k_bins == 1 << k_bits);
    int width = 0;
    for (uint64_t range = high - low; range > 0; range >>= 1) ++width;
    return width > k_bits ? width - k_bits : 0;
  }
};

// Adds up what lies in the edge, bin by bin from the best: by Row::bin_of when the edge is of any
// bin, else by key.
__device__ __forceinline__ void fill_bins(Shared& shared, const Row& row, const Edge& edge,
                                          bool weighs) {
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < k_bins; i += k_threads) {
    shared.sums[i] = 0;
    shared.counts[i] = 0;
  }
  __syncthreads();
  const int shift = edge.shift();
  for_kept(row, [&](uint64_t key, float value) {
    if (!edge.has(row, key, value)) return;
    const int bin = edge.bin < 0 ? row.bin_of(value) : static_cast<int>((edge.high - key) >> shift);
    count_visit(&shared.counts[bin]);
    if (weighs) add_to(&shared.sums[bin], row.weight(value));
  });
  __syncthreads();
}

// Finds the bin where the sums, from the first on, reach `wanted`, which is at most their total.
__device__ __forceinline__ void find_bin(Shared& shared, uint64_t wanted, bool weighs) {
  const int thread = static_cast<int>(threadIdx.x), lane = lane_of_thread();
  const auto measure = [&](int bin) {
    return weighs ? shared.sums[bin] : static_cast<uint64_t>(shared.counts[bin]);
  };
  const uint64_t first = measure(2 * thread), second = measure(2 * thread + 1);
  uint64_t sum = first + second;  // of the thread's bins and those before, in its warp
  for (int distance = 1; distance < k_warp; distance *= 2) {
    const uint64_t other = shuffle(sum, lane >= distance ? lane - distance : lane);
    if (lane >= distance) sum += other;
  }
  if (lane == k_warp - 1) shared.parts[warp_of_thread()] = sum;
  __syncthreads();
  for (int i = 0; i < warp_of_thread(); ++i) sum += shared.parts[i];
  const uint64_t before = sum - first - second;
  if (before < wanted && wanted <= sum) {
    const bool is_second = before + first < wanted;
    shared.bin = 2 * thread + (is_second ? 1 : 0);
    shared.before = before + (is_second ? first : 0);
    shared.in_bin = shared.counts[shared.bin];
  }
  __syncthreads();
}

// The key down to which what is kept now, best first, amounts to `wanted`: a number of values, or
// their weight. There is that much.
__device__ __forceinline__ uint64_t bound_for(Shared& shared, const Row& row, uint64_t wanted,
                                              bool weighs) {
  const int thread = static_cast<int>(threadIdx.x);
  constexpr int k_most_rounds = 7;  // one by distance, then 64 bits of a key by 11
  Edge edge;
  for (int round = 0; round < k_most_rounds; ++round) {
    fill_bins(shared, row, edge, weighs);
    find_bin(shared, wanted, weighs);
    wanted -= shared.before;
    if (edge.bin < 0) {
      edge.bin = shared.bin;
    } else {
      const int shift = edge.shift();
      edge.high -= static_cast<uint64_t>(shared.bin) << shift;
      const uint64_t span = (uint64_t{1} << shift) - 1;
      if (edge.high - edge.low > span) edge.low = edge.high - span;
    }
    if (shared.in_bin <= k_room) break;
  }
  if (thread == 0) shared.count = 0;
  __syncthreads();
  for_kept(row, [&](uint64_t key, float value) {
    if (!edge.has(row, key, value)) return;
    const unsigned place = count_visit(&shared.count);
    if (place >= k_room) return;
    shared.keys[place] = key;
    shared.measures[place] = weighs ? row.weight(value) : 1;
  });
  __syncthreads();
  const int n = static_cast<int>(shared.count < k_room ? shared.count : k_room);
  if (thread < n) {
    const uint64_t key = shared.keys[thread];
    uint64_t better = 0;
    for (int i = 0; i < n; ++i) better += shared.keys[i] > key ? shared.measures[i] : 0;
    if (better < wanted && wanted <= better + shared.measures[thread]) shared.bound = key;
  }
  __syncthreads();
  return shared.bound;
}

// The first token up to and with which what is kept weighs more than the row's walk: each warp adds
// up a part of what is left, until one token is.
__device__ __forceinline__ int walk(Shared& shared, const Row& row, double uniform) {
  const int lane = lane_of_thread(), warp = warp_of_thread();
  int begin = 0, end = row.width;
  bool is_first = true;
  uint64_t left = 0;
  while (is_first || end - begin > 1) {
    const int part = divide_up(end - begin, k_warps);
    const int from = begin + warp * part;
    const int to = from + part < end ? from + part : end;
    uint64_t sum = 0;
    for (int i = from + lane; i < to; i += k_warp) {
      const float value = row.values[i];
      if (row.keeps(rank_key(value, i), value)) sum += row.weight(value);
    }
    sum = sum_of_warp(sum);
    if (lane == 0) shared.parts[warp] = sum;
    __syncthreads();
    if (is_first) {
      uint64_t all = 0;
      for (int i = 0; i < k_warps; ++i) all += shared.parts[i];
      left = walk_of(uniform, all);
      is_first = false;
    }
    int found = 0;
    while (found < k_warps - 1 && left >= shared.parts[found]) left -= shared.parts[found++];
    begin += found * part;
    end = begin + part < end ? begin + part : end;
    __syncthreads();
  }
  return begin;
}

__device__ __forceinline__ int draw(Shared& shared, Row& row, const SampleQuery& asked) {
  const uint64_t best = best_of(row, shared.parts);
  row.highest = value_of_key(best);
  if (!is_finite(row.highest)) return -1;
  if (asked.inverse_temperature == 0) return index_of_key(best);
  row.inverse_temperature = asked.inverse_temperature;
  if (asked.top_k > 0 && asked.top_k < row.width)
    row.bound = bound_for(shared, row, static_cast<uint64_t>(asked.top_k), false);
  if (asked.top_p < 1) {
    const uint64_t all = weight_of_kept(row, shared.parts);
    row.bound = bound_for(shared, row, share_of(static_cast<double>(asked.top_p), all), true);
  }
  row.least = asked.least;
  return walk(shared, row, asked.uniform);
}

__global__ void __launch_bounds__(k_threads) sample_kernel(const __grid_constant__ Params params) {
  begin_kernel();
  auto& shared = *reinterpret_cast<Shared*>(shared_memory());
  const int thread = static_cast<int>(threadIdx.x), block = static_cast<int>(blockIdx.x);
  const SampleArgs& args = params.args;
  const SampleQuery asked = args.rows[block];
  Row row{args.values + static_cast<int64_t>(block) * args.width, args.width};

  SampleResult out{0, asked.target, 0.0f, 0.0f};
  out.highest = row.highest = value_of_key(best_of(row, shared.parts));
  if (asked.wants_sum && is_finite(row.highest)) out.weight_sum = weight_of_kept(row, shared.parts);
  if (asked.target >= 0) {
    out.value = row.values[asked.target];
  } else {
    float* originals = params.originals + asked.first_change;
    const LogitChange* changes = args.changes + asked.first_change;
    for (int i = thread; i < asked.n_changes; i += k_threads) {
      float& value = row.values[changes[i].token];
      originals[i] = value;
      value = changed(value, changes[i], asked);
    }
    __syncthreads();
    out.token = draw(shared, row, asked);
    if (thread == 0) shared.value = out.token >= 0 ? row.values[out.token] : 0.0f;
    __syncthreads();
    for (int i = thread; i < asked.n_changes; i += k_threads)
      if (changes[i].token == out.token) shared.value = originals[i];
    __syncthreads();
    out.value = shared.value;
  }
  if (thread == 0) args.out[block] = out;
}

}  // namespace

void sample(Stream& stream, const SampleArgs& args) {
  if (args.width > k_most_width)
    return stream.fail(error(ErrorCode::invalid_argument,
                             "Expected rows of at most %d but found %d", k_most_width, args.width));
  Params params{args, nullptr};
  const size_t n = static_cast<size_t>(args.n), n_changes = static_cast<size_t>(args.n_changes);
  params.args.rows =
      static_cast<const SampleQuery*>(stream.stage(args.rows, n * sizeof(SampleQuery)));
  if (!params.args.rows) return;
  if (n_changes > 0) {
    const void* changes = stream.stage(args.changes, n_changes * sizeof(LogitChange));
    params.args.changes = static_cast<const LogitChange*>(changes);
    params.originals = static_cast<float*>(stream.workspace(n_changes * sizeof(float)));
    if (!changes || !params.originals) return;
  }
  launch(stream, sample_kernel, {args.n}, k_threads, sizeof(Shared), params);
}

}  // namespace millrace::cuda
