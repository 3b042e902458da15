// Keys and values of a step into their pages: a warp for a head of a row of the batch, by 32
// values, which are one block of a q8_0 cache. Where the kernels just before normed and turned the
// heads of keys and queries, that is done here: one kernel instead of up to five, see take_over.

#include "ops/cuda/cache.cuh"
#include "ops/cuda/launch.h"
#include "ops/cuda/norm.cuh"
#include "ops/cuda/operators.h"
#include "ops/cuda/reduce.cuh"
#include "ops/cuda/rope.cuh"

namespace millrace::cuda {
namespace {

constexpr int k_warps = 8;
constexpr int k_threads = k_warps * k_warp;
constexpr int k_most_turned = k_four_of_warp;  // values of a head, which one warp norms

// Heads that are turned first, and the weight of their norm before, if any.
struct Heads {
  RopeArgs rope;  // n is 0 where there are none
  const float* weight;
  float eps;
};

struct StoreParams {
  StoreArgs args;
  const Slot* slots;
  Heads keys, queries;  // turned alike
};

// Of shared memory, for the turns of all pairs: a multiple of 16 bytes.
__host__ __device__ constexpr int n_turns(const Heads& heads) {
  return (heads.rope.rotary + 3) / 4 * 2;
}

// One head of a row, in place, by a warp; it stays in `room` too.
__device__ __forceinline__ void turn_head(const Heads& heads, const Turn* turns, float* x,
                                          float* room) {
  const int dim = heads.rope.head_dim, i = lane_of_thread() * k_four;
  Four value = load_four(x, i, dim);
  if (heads.weight) value = norm_four(value, heads.weight, heads.eps, i, dim);
  store_four(room, i, dim, value);
  __syncwarp();
  for (int pair = lane_of_thread(); pair < heads.rope.rotary / 2; pair += k_warp)
    turn_pair(heads.rope, turns[pair], pair, room);
  __syncwarp();
  store_four(x, i, dim, load_four(room, i, dim));
}

// 32 values of a row; dim is this lane's.
template <DType dtype>
__device__ __forceinline__ void write_cached(const KvShape& shape, char* plane, int slot, int dim,
                                             float value) {
  const bool inside = dim < shape.head_dim;
  const int at = slot * shape.head_dim + dim;
  if constexpr (dtype == DType::f32) {
    if (inside) reinterpret_cast<float*>(plane)[at] = value;
  } else if constexpr (dtype == DType::f16) {
    // Saturates: an infinity in the cache would spoil every later token.
    const float kept = value > 65504.0f ? 65504.0f : value < -65504.0f ? -65504.0f : value;
    if (inside) reinterpret_cast<uint16_t*>(plane)[at] = f16_of_f32(kept);
  } else {
    const uint16_t stored = f16_of_f32(max_of_warp(fabsf(value)) / 127.0f);
    const float scale = f32_of_f16(stored);
    const float inverse = scale > 0 ? 1.0f / scale : 0.0f;
    reinterpret_cast<int8_t*>(plane)[at] =
        static_cast<int8_t>(fminf(fmaxf(rintf(value * inverse), -128.0f), 127.0f));
    auto* scales = reinterpret_cast<uint16_t*>(plane + shape.page_tokens * shape.head_dim);
    if (lane_of_thread() == 0) scales[at / k_quant_block] = stored;
  }
}

template <DType dtype>
__global__ void __launch_bounds__(k_threads)
    store_kernel(const __grid_constant__ StoreParams params) {
  begin_kernel();
  const auto& [args, slots, keys, queries] = params;
  const KvShape& shape = args.cache.shape;
  const Slot slot = slots[blockIdx.x];
  const int64_t row = keys.rope.n > 0 ? static_cast<int64_t>(blockIdx.x) : slot.row;
  if (row < 0) return;
  auto* turns = reinterpret_cast<Turn*>(shared_memory());
  auto* room = reinterpret_cast<float*>(turns + n_turns(keys)) + warp_of_thread() * shape.head_dim;
  if (keys.rope.n > 0) {
    for (int i = static_cast<int>(threadIdx.x); i < keys.rope.rotary / 2; i += k_threads)
      turns[i] = turn_of(keys.rope, keys.rope.positions[row], i);
    __syncthreads();
  }

  const int head = static_cast<int>(blockIdx.y) * k_warps + warp_of_thread();
  const int query = head - 2 * shape.kv_heads;
  if (query >= queries.rope.heads) return;
  if (query >= 0) {
    turn_head(queries, turns, queries.rope.x + row * queries.rope.x_stride + query * shape.head_dim,
              room);
    return;
  }
  const int side = head / shape.kv_heads, kv_head = head % shape.kv_heads;
  const float* from = side == 0 ? args.k + row * args.k_stride : args.v + row * args.v_stride;
  from += kv_head * shape.head_dim;
  if (side == 0 && keys.rope.n > 0) {
    turn_head(keys, turns, keys.rope.x + (from - args.k), room);
    from = room;
  }
  if (slot.row < 0) return;
  char* plane = plane_of<dtype>(args.cache, slot.page, args.layer, side, kv_head);
  for (int start = 0; start < shape.head_dim; start += k_warp) {
    const int dim = start + lane_of_thread();
    write_cached<dtype>(shape, plane, slot.slot, dim, dim < shape.head_dim ? from[dim] : 0.0f);
  }
}

// Takes the last kernel over if it norms the heads that `heads` turns, each for itself.
void take_norm(Stream& stream, Heads& heads) {
  const RopeArgs& rope = heads.rope;
  const NormArgs* norm = last_norm(stream, rope.head_dim);
  if (!norm || norm->add || norm->x != rope.x || norm->out != rope.x) return;
  if (norm->dim != rope.head_dim || norm->n != rope.n * rope.heads) return;
  if (rope.x_stride != static_cast<int64_t>(rope.heads) * rope.head_dim) return;
  heads.weight = norm->weight;
  heads.eps = norm->eps;
  stream.recorded().drop_last();
}

bool turn_alike(const RopeArgs& a, const RopeArgs& b) {
  return a.n == b.n && a.head_dim == b.head_dim && a.rotary == b.rotary &&
         a.adjacent == b.adjacent && a.positions == b.positions && a.inv_freq == b.inv_freq &&
         a.magnitude == b.magnitude;
}

// Takes over what was recorded last, from the end: the rope of the keys, that of the queries, the
// norm of the keys' heads, that of the queries'. Each may be missing, and what is before it stays.
void take_over(Stream& stream, const StorePlan& plan, StoreParams& params) {
  const KvShape& shape = params.args.cache.shape;
  const RopeArgs* rope = last_rope(stream);
  if (!rope || rope->x != params.args.k || rope->x_stride != params.args.k_stride) return;
  if (rope->heads != shape.kv_heads || rope->head_dim != shape.head_dim) return;
  if (shape.head_dim > k_most_turned || !plan.is_in_order) return;
  if (rope->n < plan.n_rows || rope->n > plan.n_slots) return;
  params.keys.rope = taken(stream, rope);
  const RopeArgs* other = last_rope(stream);
  if (other && turn_alike(*other, params.keys.rope)) params.queries.rope = taken(stream, other);
  take_norm(stream, params.keys);
  if (params.queries.rope.n > 0) take_norm(stream, params.queries);
}

}  // namespace

size_t kv_page_bytes(const KvShape& shape) {
  const size_t planes = 2 * static_cast<size_t>(shape.layers) * static_cast<size_t>(shape.kv_heads);
  if (shape.dtype == DType::f32) return planes * plane_bytes<DType::f32>(shape);
  if (shape.dtype == DType::f16) return planes * plane_bytes<DType::f16>(shape);
  if (shape.dtype != DType::q8_0 || shape.head_dim % k_quant_block != 0) return 0;
  return planes * plane_bytes<DType::q8_0>(shape);
}

void store(Stream& stream, const StoreArgs& args) {
  const KvShape& shape = args.cache.shape;
  const StorePlan& plan =
      stream.step().store(stream, {args.spans, args.n_spans, shape.page_tokens});
  if (!plan.slots) return;
  const auto kernel = shape.dtype == DType::f32   ? store_kernel<DType::f32>
                      : shape.dtype == DType::f16 ? store_kernel<DType::f16>
                                                  : store_kernel<DType::q8_0>;
  StoreParams params{args, plan.slots, {}, {}};
  params.args.spans = nullptr;  // the plan has them; nothing of the host's may differ between steps
  take_over(stream, plan, params);
  const int n = params.keys.rope.n, heads = 2 * shape.kv_heads + params.queries.rope.heads;
  const auto room = sizeof(float) * static_cast<size_t>(n > 0 ? k_warps * shape.head_dim : 0);
  launch(stream, kernel, {n > 0 ? n : plan.n_slots, divide_up(heads, k_warps)}, k_threads,
         room + sizeof(Turn) * static_cast<size_t>(n_turns(params.keys)), params);
}

}  // namespace millrace::cuda
