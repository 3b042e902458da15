#pragma once
// The layout of a KV page on this device: [layers][k, v][kv_heads], each a plane of page_tokens
// rows of head_dim values, so that what one head reads of a page lies together. A q8_0 plane is
// int8 values first, then one f16 scale per 32 of them.

#include "ops/cuda/platform.h"
#include "ops/ops.h"

namespace millrace::cuda {

constexpr int k_quant_block = 32;  // values of a q8_0 cache under one scale

template <DType dtype>
__host__ __device__ constexpr size_t plane_bytes(const KvShape& shape) {
  const auto values = static_cast<size_t>(shape.page_tokens) * static_cast<size_t>(shape.head_dim);
  if constexpr (dtype == DType::f32) return values * 4;
  if constexpr (dtype == DType::f16) return values * 2;
  return values + values / k_quant_block * 2;
}

template <DType dtype>
__device__ __forceinline__ char* plane_of(const KvCacheView& cache, int page, int layer, int side,
                                          int kv_head) {
  const int64_t plane = (static_cast<int64_t>(layer) * 2 + side) * cache.shape.kv_heads + kv_head;
  return static_cast<char*>(cache.data) + page * static_cast<int64_t>(cache.page_bytes) +
         plane * static_cast<int64_t>(plane_bytes<dtype>(cache.shape));
}

// One value of row `slot` of a plane.
template <DType dtype>
__device__ __forceinline__ float read_cached(const KvShape& shape, const char* plane, int slot,
                                             int dim) {
  const int at = slot * shape.head_dim + dim;
  if constexpr (dtype == DType::f32) return reinterpret_cast<const float*>(plane)[at];
  if constexpr (dtype == DType::f16)
    return f32_of_f16(reinterpret_cast<const uint16_t*>(plane)[at]);
  const auto* scales =
      reinterpret_cast<const uint16_t*>(plane + shape.page_tokens * shape.head_dim);
  return static_cast<float>(reinterpret_cast<const int8_t*>(plane)[at]) *
         f32_of_f16(scales[at / k_quant_block]);
}

}  // namespace millrace::cuda
