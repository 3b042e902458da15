#pragma once
// The instructions that CUDA C++ has no name for, as PTX (sm_80 and later), and the few names that
// host/cuda.h spells differently. The host forms stand in host/ptx.h.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace millrace::cuda {

__device__ __forceinline__ char* shared_memory() {
  extern __shared__ __align__(1024) char bytes[];
  return bytes;
}

// Programmatic dependent launch (griddepcontrol of the PTX ISA, sm_90): once every block of a
// kernel has let the next one start, its blocks may take what multiprocessors are free, and do what
// needs nothing from before. Every kernel waits for the one before it, which then has ended, as all
// before that have. Where early starts are off (see stream.cu) both do nothing.
__device__ __forceinline__ void let_next_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
__device__ __forceinline__ void wait_for_earlier() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// Of a kernel that needs the one before it from the start.
__device__ __forceinline__ void begin_kernel() {
  let_next_start();
  wait_for_earlier();
}

__device__ __forceinline__ void order_warp() { __syncwarp(); }

// This thread's number. What is derived from it is not kept over a loop that needs the registers.
__device__ __forceinline__ int thread_anew() {
  int thread = static_cast<int>(threadIdx.x);
  asm volatile("" : "+r"(thread));
  return thread;
}

template <class T>
__device__ __forceinline__ T shuffle(T value, int source) {
  return __shfl_sync(0xffffffffu, value, source);
}
template <class T>
__device__ __forceinline__ T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}

__device__ __forceinline__ unsigned count_visit(unsigned* counter) { return atomicAdd(counter, 1); }
__device__ __forceinline__ void add_to(uint64_t* sum, uint64_t amount) {
  atomicAdd(reinterpret_cast<unsigned long long*>(sum), amount);
}
__device__ __forceinline__ void fence_device() { __threadfence(); }

__device__ __forceinline__ float exponential(float x) { return __expf(x); }
__device__ __forceinline__ float reciprocal_root(float x) { return 1.0f / sqrtf(x); }
__device__ __forceinline__ float f32_of_f16(uint16_t bits) {
  return __half2float(__ushort_as_half(bits));
}
__device__ __forceinline__ uint16_t f16_of_f32(float value) {
  return __half_as_ushort(__float2half_rn(value));
}
__device__ __forceinline__ uint16_t bf16_of_f32(float value) {
  return __bfloat16_as_ushort(__float2bfloat16_rn(value));
}
__device__ __forceinline__ float bf16_as_f32(uint16_t bits) {
  return __uint_as_float(static_cast<uint32_t>(bits) << 16);
}

__device__ __forceinline__ uint32_t subtract_pairs(uint32_t a, uint32_t b) {
  uint32_t result;
  asm("sub.f16x2 %0, %1, %2;" : "=r"(result) : "r"(a), "r"(b));
  return result;
}
__device__ __forceinline__ float float_of_bits(uint32_t bits) { return __uint_as_float(bits); }
__device__ __forceinline__ uint32_t bits_of_float(float value) { return __float_as_uint(value); }

__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

__device__ __forceinline__ void copy_async_16(void* to, const void* from, bool present) {
  const int bytes = present ? 16 : 0;  // the rest of the 16 becomes zero
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
               "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int n_left>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(n_left) : "memory");
}

__device__ __forceinline__ void load_matrices(uint32_t (&out)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(shared_address(row))
               : "memory");
}

__device__ __forceinline__ void load_matrices_transposed(uint32_t (&out)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(shared_address(row))
               : "memory");
}

__device__ __forceinline__ void multiply_f16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                             uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ void multiply_bf16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                              uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace millrace::cuda
