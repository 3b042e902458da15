// Opens the AVX-512 region (F, BW, VL, DQ, VNNI) and its namespace; end.h closes both.
// Not a header of its own: see avx512.cpp for the order of includes.
#include "ops/cpu/simd/region-512.h"
namespace millrace::avx512 {
