#include "engine/random.h"

namespace millrace {

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  constexpr uint64_t k_multiplier_0 = 0xD2511F53u, k_multiplier_1 = 0xCD9E8D57u;
  constexpr uint32_t k_weyl_0 = 0x9E3779B9u, k_weyl_1 = 0xBB67AE85u;
  constexpr int k_rounds = 10;
  for (int round = 0; round < k_rounds; ++round) {
    const uint64_t a = k_multiplier_0 * counter[0];
    const uint64_t b = k_multiplier_1 * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key = {key[0] + k_weyl_0, key[1] + k_weyl_1};
  }
  return counter;
}

double uniform(uint64_t seed, uint64_t position) {
  const auto words =
      philox({static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32), 0, 0},
             {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  const uint64_t bits = (static_cast<uint64_t>(words[1]) << 32 | words[0]) >> 11;
  return static_cast<double>(bits) * 0x1.0p-53;
}

}  // namespace millrace
