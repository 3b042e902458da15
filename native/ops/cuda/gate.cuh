#pragma once
// The gate's activations.

#include "ops/cuda/platform.h"
#include "ops/cuda/stream.h"

namespace millrace::cuda {

__device__ __forceinline__ float activate(float x, Act act) {
  if (act == Act::silu) return x / (1.0f + exponential(-x));
  if (act == Act::none) return x;
  // Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016: the form with tanh.
  const float inner = 0.7978845608f * (x + 0.044715f * x * x * x);
  return 0.5f * x * (1.0f + tanhf(inner));
}

// Of the last kernel that was recorded and has not started, where it is a gate; null where not.
const GateArgs* last_gate(Stream& stream);

}  // namespace millrace::cuda
