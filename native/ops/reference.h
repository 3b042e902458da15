#pragma once
// The readable operator table, on every processor: specification, oracle and fallback.

#include "ops/ops.h"

namespace millrace {

extern const Ops k_reference_ops;

}  // namespace millrace
