// The best k of each row of logits, exactly and without a sort: one block per row. The k-th best of
// what the threads found each for themselves is a bound that at least k values keep; seldom do many
// more. Where they do, the bound is moved up by bisection until the rest fits shared memory.

#include "ops/cuda/launch.h"
#include "ops/cuda/operators.h"
#include "ops/sampling.h"

namespace millrace::cuda {
namespace {

constexpr int k_threads = 1024;
constexpr int k_room = k_threads;  // keys that can be ranked, one per thread
static_assert(k_room >= k_most_top);

struct Shared {
  uint64_t keys[k_room];
  uint64_t bound;
  unsigned count;
};

// How many of the first n keys are better than the thread's own.
__device__ __forceinline__ int rank_of(const Shared& shared, int n, uint64_t key) {
  const int thread = static_cast<int>(threadIdx.x);
  int rank = 0;
  for (int i = 0; i < n; ++i)
    rank += shared.keys[i] > key || (shared.keys[i] == key && i < thread) ? 1 : 0;
  return rank;
}

// How many values are not below the bound; the keys of the first k_room that came are kept.
__device__ __forceinline__ int collect(Shared& shared, const float* row, int width,
                                       uint64_t bound) {
  for (int i = static_cast<int>(threadIdx.x); i < width; i += k_threads) {
    const uint64_t key = rank_key(row[i], i);
    if (key < bound) continue;
    const unsigned place = count_visit(&shared.count);
    if (place < k_room) shared.keys[place] = key;
  }
  __syncthreads();
  return static_cast<int>(shared.count);
}

__global__ void __launch_bounds__(k_threads) top_k_kernel(const __grid_constant__ TopKArgs args) {
  begin_kernel();
  auto& shared = *reinterpret_cast<Shared*>(shared_memory());
  const int thread = static_cast<int>(threadIdx.x);
  const float* row = args.values + static_cast<int64_t>(blockIdx.x) * args.width;
  TopValue* out = args.out + static_cast<int64_t>(blockIdx.x) * args.k;

  uint64_t best = 0;
  for (int i = thread; i < args.width; i += k_threads) {
    const uint64_t key = rank_key(row[i], i);
    best = key > best ? key : best;
  }
  shared.keys[thread] = best;
  if (thread == 0) shared.count = 0;
  __syncthreads();
  if (rank_of(shared, k_threads, best) == args.k - 1) shared.bound = best > 0 ? best : 1;
  __syncthreads();

  // At least k, or all that have a rank, are not below low; none reaches high.
  uint64_t low = shared.bound, high = ~uint64_t{0};
  int n = collect(shared, row, args.width, low);
  while (n > k_room) {
    __syncthreads();
    if (thread == 0) shared.count = 0;
    __syncthreads();
    const uint64_t middle = low + (high - low) / 2;
    const int found = collect(shared, row, args.width, middle);
    if (found < args.k) {
      high = middle;
    } else {
      low = middle;
      n = found;
    }
  }

  if (thread < n) {
    const uint64_t key = shared.keys[thread];
    const int rank = rank_of(shared, n, key);
    if (rank < args.k) out[rank] = {index_of_key(key), row[index_of_key(key)]};
  } else if (thread < args.k) {
    out[thread] = {-1, 0.0f};
  }
}

}  // namespace

void top_k(Stream& stream, const TopKArgs& args) {
  if (args.k < 1 || args.k > k_most_top)
    return stream.fail(error(ErrorCode::invalid_argument, "Expected k to be 1..%d but found %d",
                             k_most_top, args.k));
  launch(stream, top_k_kernel, {args.n}, k_threads, sizeof(Shared), args);
}

}  // namespace millrace::cuda
