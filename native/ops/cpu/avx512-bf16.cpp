// The operators for x86-64 with AVX-512 (F, BW, VL, DQ), VNNI and BF16. The order of includes is
// the design: plain headers, then the region, then everything that mentions a vector type.
#include "ops/cpu/table.h"
#include <immintrin.h>
#include "ops/cpu/simd/begin-avx512-bf16.h"
#include "ops/cpu/simd/verbs-512.h"
#include "ops/cpu/simd/dot.h"
#include "ops/cpu/simd/no-matrices.h"
#include "ops/cpu/simd/avx512-bf16.h"
#include "ops/cpu/all.inl"
#include "ops/cpu/simd/end.h"
