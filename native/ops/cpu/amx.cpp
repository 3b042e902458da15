// The operators for x86-64 with AMX (TILE, INT8), besides AVX-512 and VNNI. The order of includes
// is the design: plain headers, then the region, then everything that mentions a vector type.
#include "ops/cpu/table.h"
#include <immintrin.h>
#include "ops/cpu/simd/begin-amx.h"
#include "ops/cpu/simd/verbs-512.h"
#include "ops/cpu/simd/dot.h"
#include "ops/cpu/simd/amx-tiles.h"
#include "ops/cpu/simd/amx.h"
#include "ops/cpu/all.inl"
#include "ops/cpu/simd/end.h"
