// The operators for x86-64 with AVX2, FMA and F16C. The order of includes is the design: plain
// headers, then the region, then everything that mentions a vector type.
#include "ops/cpu/table.h"
#include <immintrin.h>
#include "ops/cpu/simd/begin-avx2.h"
#include "ops/cpu/simd/no-matrices.h"
#include "ops/cpu/simd/verbs-256.h"
#include "ops/cpu/simd/dot.h"
#include "ops/cpu/simd/avx2.h"
#include "ops/cpu/all.inl"
#include "ops/cpu/simd/end.h"
