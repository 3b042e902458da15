// Opens the AVX-512 region (F, BW, VL, DQ, VNNI) with BF16 and its namespace; end.h closes both.
// Not a header of its own: see avx512-bf16.cpp for the order of includes.
#if defined(__clang__)
#pragma clang attribute push(                                                               \
    __attribute__((                                                                         \
        target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16"))), \
    apply_to = function)
#else
#include "ops/cpu/simd/region-512.h"
#pragma GCC target("avx512bf16")
#endif
namespace millrace::avx512_bf16 {
