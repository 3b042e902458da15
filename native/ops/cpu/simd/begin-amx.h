// Opens the AMX region (that of AVX-512: tiles are written as assembly) and its namespace; end.h
// closes both. Not a header of its own: see amx.cpp for the order of includes.
#include "ops/cpu/simd/region-512.h"
namespace millrace::amx {
