#pragma once
// Random numbers as a function of (seed, position): no state, so the same request draws the same
// numbers alone, in a batch, after a prefix hit and after a preemption.
// Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011
// (Philox4x32-10). Threads: any (pure functions).

#include <array>
#include <cstdint>

namespace millrace {

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// In [0, 1), 53 bits.
double uniform(uint64_t seed, uint64_t position);

}  // namespace millrace
