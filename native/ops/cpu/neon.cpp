// The operators for 64-bit ARM with dot products (from ARMv8.2 on). The order of includes is the
// design: plain headers, then the region, then everything that mentions a vector type.
#include "ops/cpu/table.h"
#include <arm_neon.h>
#include "ops/cpu/simd/begin-neon.h"
#include "ops/cpu/simd/no-matrices.h"
#include "ops/cpu/simd/verbs-neon.h"
#include "ops/cpu/simd/dot.h"
#include "ops/cpu/simd/neon.h"
#include "ops/cpu/all.inl"
#include "ops/cpu/simd/end.h"
