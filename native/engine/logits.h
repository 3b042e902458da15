#pragma once
// Questions about one row of logits: the largest, the k largest, the log of the sum of
// exponentials. Sums run in one fixed order, so a row's answer does not depend on the batch or the
// threads. Threads: any (pure functions).

#include <cstdint>
#include <vector>

namespace millrace {

struct Candidate {
  int32_t token;
  float logit;
};

// Higher logit first, then lower token.
inline bool ranks_before(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

float largest(const float* logits, int n);  // NaN where any logit is
// The first token whose logit equals `highest`, as largest() gave it; -1 if none does.
int32_t first_equal(const float* logits, int n, float highest);

// Sum of exp((logits[i] - highest) * scale).
double sum_exp(const float* logits, int n, float highest, float scale);
// The first token whose cumulative sum of the same terms, in order of token, exceeds `target`.
int32_t find_cumulative(const float* logits, int n, float highest, float scale, double target);

// The k best by ranks_before, in that order, without sorting the rest. NaN is skipped.
void select_top(const float* logits, int n, int k, std::vector<Candidate>& top);

}  // namespace millrace
