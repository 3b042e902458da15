// Opens the AVX-VNNI region and its namespace; end.h closes both. Not a header of its own: see
// avx-vnni.cpp for the order of includes.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avxvnni"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avxvnni")
#endif
namespace millrace::avx_vnni {
