#pragma once
// Tokens from rows of logits where the rows lie, so that a step over a bus brings back a few bytes
// a row. Exact and without floating sums: a token's weight is a whole number of 2^-44, so sums have
// no order, and every table draws the same token from the same row.
//   weight(v) = exp((v - highest) * inverse_temperature), 1 for the likeliest
// A row is changed (bias, then penalties), cut to its top_k best, to the fewest best of those that
// reach the share top_p of their weight, to those not below `least`, and what is left is walked in
// order of token until the weights exceed uniform * their sum. Of equal values the lower token
// ranks first. Keskar et al., "CTRL", 2019 (repetition); Holtzman et al., "The curious case of
// neural text degeneration", 2020 (top_p); Nguyen et al., "Min-p sampling", 2024.
//
// Threads: pure functions, host and device; the operator as ops.h says.

#include <bit>
#include <cstdint>

#include "tensor/exponential.h"

namespace millrace {

// What is done to the logit of one token; a row has at most one for a token.
struct LogitChange {
  int32_t token;
  int32_t in_output;  // how often the output has it, -1: not what penalties look at
  float bias;
};

struct SampleQuery {
  double uniform = 0;             // 0 <= u < 1
  float inverse_temperature = 1;  // 0: the likeliest token, whatever else is asked
  float top_p = 1;                // 1: all
  float least = -3.4e38f;         // of (value - highest) * inverse_temperature: log(min_p)
  float repetition_penalty = 1, presence_penalty = 0, frequency_penalty = 0;
  int32_t top_k = 0;  // 0: all
  int32_t first_change = 0, n_changes = 0;
  int32_t target = -1;  // a token that is only asked about; -1: one is drawn
  int32_t wants_sum = 0;
};

struct SampleResult {
  // Of the values before changes at temperature 1; 0: not asked for, or `highest` is not finite.
  uint64_t weight_sum;
  int32_t token;  // drawn, or target; -1: nothing is drawn where the highest value is not finite
  float value;    // of the token, before changes
  float highest;  // before changes; NaN where any value is
};

struct SampleArgs {
  float* values;               // [n, width], changed where rows ask for it
  const SampleQuery* rows;     // [n], host
  const LogitChange* changes;  // [n_changes], host
  int n_changes;
  int n;
  int width;          // at most k_most_width
  SampleResult* out;  // [n]
};

constexpr int k_weight_bits = 44;
constexpr int k_most_width = 1 << (63 - k_weight_bits);  // so that no sum overflows

// Orders values as ranks do, the higher value above, of equals the lower index; 0 is NaN: no rank.
constexpr uint64_t rank_key(float value, int index) {
  if (value != value) return 0;
  const uint32_t bits = std::bit_cast<uint32_t>(value + 0.0f);  // -0 counts as 0
  const uint32_t ordered = bits >> 31 ? ~bits : bits | 0x80000000u;
  return static_cast<uint64_t>(ordered) << 32 | (0xffffffffu - static_cast<uint32_t>(index));
}
constexpr int index_of_key(uint64_t key) {
  return static_cast<int>(0xffffffffu - static_cast<uint32_t>(key));
}
constexpr uint64_t k_nan_key = ~uint64_t{0};  // above all others
constexpr float value_of_key(uint64_t key) {
  const uint32_t ordered = static_cast<uint32_t>(key >> 32);
  return std::bit_cast<float>(ordered >> 31 ? ordered & 0x7fffffffu : ~ordered);
}

constexpr bool is_finite(float value) { return value - value == 0; }

// In whole numbers of 2^-k_weight_bits.
constexpr uint64_t weight_of(float value, float highest, float inverse_temperature) {
  const float weight = exp_of((value - highest) * inverse_temperature);
  return static_cast<uint64_t>(weight * static_cast<float>(uint64_t{1} << k_weight_bits));
}

constexpr float changed(float value, const LogitChange& change, const SampleQuery& row) {
  value += change.bias;
  if (change.in_output < 0) return value;
  value = value > 0 ? value / row.repetition_penalty : value * row.repetition_penalty;
  if (change.in_output > 0) value -= row.presence_penalty;
  return value - row.frequency_penalty * static_cast<float>(change.in_output);
}

// The least whole weight that is a share of all.
constexpr uint64_t share_of(double share, uint64_t all) {
  const double exact = share * static_cast<double>(all);
  uint64_t wanted = static_cast<uint64_t>(exact);
  if (static_cast<double>(wanted) < exact) ++wanted;
  return wanted < 1 ? 1 : wanted > all ? all : wanted;
}

// Where the walk ends: at the first token with more weight up to and with it than this.
constexpr uint64_t walk_of(double uniform, uint64_t all) {
  const uint64_t walk = static_cast<uint64_t>(uniform * static_cast<double>(all));
  return walk < all ? walk : all - 1;
}

}  // namespace millrace
