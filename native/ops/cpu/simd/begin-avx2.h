// Opens the AVX2 region and its namespace; end.h closes both. Not a header of its own: nothing that
// uses a vector type may be included before it (see avx2.cpp for the order).
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif
namespace millrace::avx2 {
