// The instructions of AVX-512 (F, BW, VL, DQ, VNNI) for what follows; end.h takes them away. For
// begin-avx512.h and begin-amx.h only.
#if defined(__clang__)
#pragma clang attribute push(                                                               \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#pragma GCC target("prefer-vector-width=512")
#endif
