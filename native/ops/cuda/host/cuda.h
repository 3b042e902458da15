#pragma once
// The CUDA C++ names that kernels use, for a host compiler: each thread is one of runner.h's.
// Included by platform.h only.

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>

#include "ops/cuda/host/runner.h"
#include "tensor/half.h"

// NOLINTBEGIN(bugprone-reserved-identifier): the names are CUDA's
#define __global__ static
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define threadIdx (::millrace::simt::thread_index())
#define blockIdx (::millrace::simt::block_index())
#define blockDim (::millrace::simt::block_size())
#define gridDim (::millrace::simt::grid_size())

struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};

namespace millrace::cuda {

using Where = simt::Place;

inline void __syncthreads(const Where& where = Where::here()) { simt::meet_block(where); }
inline void __syncwarp(const Where& where = Where::here()) {
  simt::meet_warp(nullptr, nullptr, where);
}

// NOLINTEND(bugprone-reserved-identifier)

// Makes what lanes wrote visible to their warp where an operation of the warp brings the lanes
// together anyway: the memory model asks for it. The runner has none, so it cannot miss this one,
// and does not offer it as a fault to seed.
inline void order_warp(const Where& where = Where::here()) {
  simt::meet_warp([](void* const*) {}, nullptr, where);
}

inline int thread_anew() { return static_cast<int>(threadIdx.x); }

// The start of a kernel may fall before the end of the one before it: see ptx.cuh.
inline void let_next_start() {}
inline void wait_for_earlier(const Where& where = Where::here()) { simt::wait_for_earlier(where); }
inline void begin_kernel(const Where& where = Where::here()) { simt::wait_for_earlier(where); }

inline char* shared_memory() { return simt::shared_memory(); }

// Every lane reads the value of lane `source`; masks are full.
template <class T>
T shuffle(T value, int source, const Where& where = Where::here()) {
  struct Args {
    T given, taken;
    int source;
  } args{value, value, source};
  simt::meet_warp(
      [](void* const lanes[]) {
        for (int i = 0; i < simt::k_lanes; ++i) {
          auto* mine = static_cast<Args*>(lanes[i]);
          mine->taken = static_cast<Args*>(lanes[mine->source % simt::k_lanes])->given;
        }
      },
      &args, where);
  return args.taken;
}
template <class T>
T shuffle_xor(T value, int mask, const Where& where = Where::here()) {
  return shuffle(value, simt::lane() ^ mask, where);
}

// One more visitor of a counter; the count before.
inline unsigned count_visit(unsigned* counter) {
  return std::atomic_ref(*counter).fetch_add(1, std::memory_order_acq_rel);
}
// Adds to a word of shared memory, in no order that anyone may rely on.
inline void add_to(uint64_t* sum, uint64_t amount) {
  std::atomic_ref(*sum).fetch_add(amount, std::memory_order_relaxed);
}
inline void fence_device() { std::atomic_thread_fence(std::memory_order_seq_cst); }

inline float exponential(float x) { return std::exp(x); }
inline float reciprocal_root(float x) { return 1.0f / std::sqrt(x); }
inline float f32_of_f16(uint16_t bits) { return f16_to_f32(bits); }
inline uint16_t f16_of_f32(float value) { return f32_to_f16(value); }
inline uint16_t bf16_of_f32(float value) { return f32_to_bf16(value); }
inline float bf16_as_f32(uint16_t bits) { return bf16_to_f32(bits); }
// Of two f16 in one word each.
inline uint32_t subtract_pairs(uint32_t a, uint32_t b) {
  const auto half = [&](int shift) -> uint32_t {
    const float x = f16_to_f32(static_cast<uint16_t>(a >> shift));
    return f32_to_f16(x - f16_to_f32(static_cast<uint16_t>(b >> shift)));
  };
  return half(0) | half(16) << 16;
}
inline float float_of_bits(uint32_t bits) { return std::bit_cast<float>(bits); }
inline uint32_t bits_of_float(float value) { return std::bit_cast<uint32_t>(value); }

}  // namespace millrace::cuda
