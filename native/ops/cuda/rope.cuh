#pragma once
// The rotary embedding of one pair. Angles are made in double as the reference makes them; their
// sine and cosine are made here, good to 1e-11, for the general functions take local memory.

#include "ops/cuda/platform.h"
#include "ops/cuda/stream.h"

namespace millrace::cuda {

struct Turn {
  float cosine, sine;
};

// Taylor's series on an eighth of a turn to either side. Angles up to 2^31.
__device__ __forceinline__ Turn turn_of(const RopeArgs& args, double position, int pair) {
  const double angle = position * static_cast<double>(args.inv_freq[pair]);
  const double quarters = rint(angle * 0.63661977236758134);  // 2 / pi
  const double high = fma(quarters, -1.5707963267948966, angle);
  const double x = fma(quarters, -6.123233995736766e-17, high);
  const double x2 = x * x;
  double s = fma(x2, -1.0 / 39916800, 1.0 / 362880);
  s = fma(x2, s, -1.0 / 5040);
  s = fma(x2, s, 1.0 / 120);
  s = fma(x2, s, -1.0 / 6);
  const auto sine = static_cast<float>(fma(x2 * x, s, x));
  double c = fma(x2, 1.0 / 479001600, -1.0 / 3628800);
  c = fma(x2, c, 1.0 / 40320);
  c = fma(x2, c, -1.0 / 720);
  c = fma(x2, c, 1.0 / 24);
  c = fma(x2, c, -0.5);
  const auto cosine = static_cast<float>(fma(x2, c, 1.0));
  const auto quadrant = static_cast<unsigned>(static_cast<int64_t>(quarters));
  const float at = quadrant % 2 == 0 ? cosine : sine, up = quadrant % 2 == 0 ? sine : cosine;
  return {((quadrant + 1) & 2 ? -at : at) * args.magnitude,
          (quadrant & 2 ? -up : up) * args.magnitude};
}

// Fused by name, so that every kernel gives the same bits.
__device__ __forceinline__ void turn_pair(const RopeArgs& args, const Turn& turn, int pair,
                                          float* head) {
  const int first = args.adjacent ? 2 * pair : pair;
  const int second = args.adjacent ? first + 1 : first + args.rotary / 2;
  const float a = head[first], b = head[second];
  head[first] = fmaf(a, turn.cosine, -(b * turn.sine));
  head[second] = fmaf(b, turn.cosine, a * turn.sine);
}

// Of the last kernel that was recorded and has not started, where it is a rope; null where not. Its
// positions are the device's.
const RopeArgs* last_rope(Stream& stream);

}  // namespace millrace::cuda
