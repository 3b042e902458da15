#pragma once
// The readable operator table, on every processor: specification, oracle and fallback.

#include "ops/ops.h"

namespace millrace {

extern const Ops k_reference_ops;

// The part of it that ranks logits.
void reference_top_k(Queue& queue, const TopKArgs& args);
void reference_sample(Queue& queue, const SampleArgs& args);

}  // namespace millrace
