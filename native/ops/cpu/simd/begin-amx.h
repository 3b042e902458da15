// Opens the AMX region (that of AVX-512: tiles are written as assembly) and its namespace; end.h
// closes both. Not a header of its own: see amx.cpp for the order of includes.
#if defined(__clang__)
#pragma clang attribute push(                                                               \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#pragma GCC target("prefer-vector-width=512")
#endif
namespace millrace::amx {
