#pragma once
// The rotary embedding of one pair. Angles are made in double as the reference makes them, but in
// half turns: taking whole ones off needs no table in local memory. That moves an angle by at most
// 2^-52 of itself.

#include "ops/cuda/platform.h"
#include "ops/cuda/stream.h"

namespace millrace::cuda {

struct Turn {
  float cosine, sine;
};

__device__ __forceinline__ Turn turn_of(const RopeArgs& args, double position, int pair) {
  constexpr double k_half_turns = 0.31830988618379067;  // of a radian
  const double angle = position * static_cast<double>(args.inv_freq[pair]) * k_half_turns;
  return {static_cast<float>(cospi(angle)) * args.magnitude,
          static_cast<float>(sinpi(angle)) * args.magnitude};
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
