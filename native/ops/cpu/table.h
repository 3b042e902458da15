#pragma once
// What every CPU table is made from, free of vector types: included before an ISA's region opens.
// Also declares the tables, one per ISA; device.cpp picks one.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

#include "base/thread-pool.h"
#include "ops/cpu/packed.h"
#include "ops/device.h"
#include "ops/ops.h"
#include "ops/reference.h"

namespace millrace {

namespace amx {
extern const Ops k_ops;
}
namespace avx2 {
extern const Ops k_ops;
}
namespace avx_vnni {
extern const Ops k_ops;
}
namespace avx512 {
extern const Ops k_ops;
}
namespace neon {
extern const Ops k_ops;
}
namespace neon_i8mm {
extern const Ops k_ops;
}

}  // namespace millrace
