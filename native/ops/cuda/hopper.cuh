#pragma once
// Instructions of sm_90a (PTX ISA 8.7, sections 9.7.9.25.4, 9.7.13.15 and 9.7.15): barriers that
// count bytes, copies that arrive at them, and products of a warpgroup, four warps. Only kernels
// that ask k_has_groups use them. The host forms stand in host/hopper.h.

#include <cstdint>

#include "ops/cuda/ptx.cuh"

namespace millrace::cuda {

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
constexpr bool k_has_groups = true;
#else
constexpr bool k_has_groups = false;
#endif

// An mbarrier in shared memory. Its phase ends when all have arrived and all bytes have come; the
// first one has parity 0.
using Phase = uint64_t;

__device__ __forceinline__ void open_phase(Phase* phase, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(phase)), "r"(arrivals)
               : "memory");
}
// Shows what the calling thread wrote to shared memory, phases too, to copies and products; before
// the block meets.
__device__ __forceinline__ void publish_shared() {
  asm volatile(
      "fence.mbarrier_init.release.cluster;\n"
      "fence.proxy.async.shared::cta;" ::
          : "memory");
}
__device__ __forceinline__ void arrive(Phase* phase) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(phase)) : "memory");
}
__device__ __forceinline__ void arrive_and_expect(Phase* phase, int bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(phase)),
      "r"(bytes)
      : "memory");
}
// Goes on when the phase of this parity has ended; that of parity 1 before the first has.
__device__ __forceinline__ void wait_phase(Phase* phase, int parity) {
  uint32_t has_ended;
  do {
    asm volatile(
        "{\n"
        ".reg .pred ended;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 ended, [%1], %2;\n"
        "selp.u32 %0, 1, 0, ended;\n"
        "}"
        : "=r"(has_ended)
        : "r"(shared_address(phase)), "r"(parity)
        : "memory");
  } while (!has_ended);
}

// Starts a copy of global into shared memory, of 16 bytes times any number, by one thread.
__device__ __forceinline__ void copy_bulk(void* to, const void* from, int bytes, Phase* phase) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(shared_address(to)),
      "l"(__cvta_generic_to_global(from)), "r"(bytes), "r"(shared_address(phase))
      : "memory");
}

// What a warpgroup multiplies and adds to is its products' from begin_products() to the wait.
__device__ __forceinline__ void begin_products() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

// c[64, groups * 8] += a[64, 16] * transpose(x), or = where it does not add. Each of four warps has
// 16 rows of a and c, laid out as multiply_bf16's. x is a tile in shared memory, at a multiple of
// 1024 bytes: groups * 8 tokens of 64 columns, chunks turned; step says which 16 of them.
template <bool bf16, int groups>
__device__ __forceinline__ void multiply_group(float (&c)[groups][4], const uint32_t (&a)[4],
                                               const char* x, int step, bool adds_to_c) {
  static_assert(groups == 8 || groups == 16);
  // Start and distance of eight tokens in units of 16 bytes, swizzled by 128.
  constexpr uint64_t k_form = uint64_t{1} << 16 | uint64_t{1024 >> 4} << 32 | uint64_t{1} << 62;
  const uint32_t start = (shared_address(x) & 0x3ffffu) + static_cast<uint32_t>(step) * 32;
  const uint64_t tile = k_form | start >> 4;
#define SUM(g) "+f"(c[g][0]), "+f"(c[g][1]), "+f"(c[g][2]), "+f"(c[g][3])
#define SUMS(g) \
  SUM(g), SUM(g + 1), SUM(g + 2), SUM(g + 3), SUM(g + 4), SUM(g + 5), SUM(g + 6), SUM(g + 7)
#define FIRST                                                                                  \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, " \
  "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define NEXT                                                                                     \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, " \
  "%50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define PRODUCT(tokens, type, sums, in, adds, ...)                                                 \
  asm volatile("{\n.reg .pred adds;\nsetp.ne.b32 adds, " adds                                      \
               ", 0;\nwgmma.mma_async.sync.aligned.m64n" tokens "k16.f32." type "." type " {" sums \
               "}, " in ", adds, 1, 1, 0;\n}"                                                      \
               : __VA_ARGS__                                                                       \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(tile),                            \
                 "r"(static_cast<int>(adds_to_c)))
  if constexpr (groups == 8 && bf16)
    PRODUCT("64", "bf16", FIRST, "{%32, %33, %34, %35}, %36", "%37", SUMS(0));
  else if constexpr (groups == 8)
    PRODUCT("64", "f16", FIRST, "{%32, %33, %34, %35}, %36", "%37", SUMS(0));
  else if constexpr (bf16)
    PRODUCT("128", "bf16", FIRST NEXT, "{%64, %65, %66, %67}, %68", "%69", SUMS(0), SUMS(8));
  else
    PRODUCT("128", "f16", FIRST NEXT, "{%64, %65, %66, %67}, %68", "%69", SUMS(0), SUMS(8));
#undef PRODUCT
#undef NEXT
#undef FIRST
#undef SUMS
#undef SUM
}

__device__ __forceinline__ void commit_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Until n_left committed groups are under way. Who reads c afterwards names it here, so that the
// compiler does not read it before.
template <int n_left, int groups>
__device__ __forceinline__ void wait_products(float (&c)[groups][4]) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(n_left) : "memory");
  for (auto& sums : c)
    for (float& sum : sums) asm volatile("" : "+f"(sum)::"memory");
}

}  // namespace millrace::cuda
