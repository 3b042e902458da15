// The operators for 64-bit ARM with dot products and 8-bit matrix products. The order of includes
// is the design: plain headers, then the region, then everything that mentions a vector type.
#include "ops/cpu/table.h"
#include <arm_neon.h>
#include "ops/cpu/simd/begin-neon-i8mm.h"
#include "ops/cpu/simd/no-matrices.h"
#include "ops/cpu/simd/verbs-neon.h"
#include "ops/cpu/simd/dot.h"
#include "ops/cpu/simd/neon-i8mm.h"
#include "ops/cpu/all.inl"
#include "ops/cpu/simd/end.h"
