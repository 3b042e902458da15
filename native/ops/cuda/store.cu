// Keys and values of a step into their pages: one block per row of the batch, one warp per 32
// values, which are one block of a q8_0 cache.

#include "ops/cuda/cache.cuh"
#include "ops/cuda/launch.h"
#include "ops/cuda/operators.h"
#include "ops/cuda/reduce.cuh"

namespace millrace::cuda {
namespace {

constexpr int k_warps = 16;
constexpr int k_threads = k_warps * k_warp;

struct StoreParams {
  StoreArgs args;
  const Slot* slots;
};

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
  const StoreArgs& args = params.args;
  const KvShape& shape = args.cache.shape;
  const Slot slot = params.slots[blockIdx.x];
  if (slot.row < 0) return;
  const int groups = (shape.head_dim + k_warp - 1) / k_warp;  // of 32 values in a head
  for (int i = warp_of_thread(); i < 2 * shape.kv_heads * groups; i += k_warps) {
    const int side = i / (shape.kv_heads * groups);
    const int head = i / groups % shape.kv_heads;
    const int dim = i % groups * k_warp + lane_of_thread();
    const float* row =
        side == 0 ? args.k + slot.row * args.k_stride : args.v + slot.row * args.v_stride;
    const float value = dim < shape.head_dim ? row[head * shape.head_dim + dim] : 0.0f;
    write_cached<dtype>(shape, plane_of<dtype>(args.cache, slot.page, args.layer, side, head),
                        slot.slot, dim, value);
  }
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
  StoreParams params{args, plan.slots};
  params.args.spans = nullptr;  // the plan has them; nothing of the host's may differ between steps
  launch(stream, kernel, {plan.n_slots}, k_threads, 0, params);
}

}  // namespace millrace::cuda
