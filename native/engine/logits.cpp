#include "engine/logits.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "tensor/exponential.h"

namespace millrace {

namespace {

constexpr int k_block = 512;  // terms summed at a time, in k_lanes interleaved float sums
constexpr int k_lanes = 16;

// Terms of one block into `terms`; their sum.
double block_terms(const float* logits, int n, float highest, float scale, float* terms) {
  for (int i = 0; i < n; ++i) terms[i] = exp_of((logits[i] - highest) * scale);
  float lanes[k_lanes] = {};
  int i = 0;
  for (; i + k_lanes <= n; i += k_lanes) {
    for (int lane = 0; lane < k_lanes; ++lane) lanes[lane] += terms[i + lane];
  }
  double sum = 0;
  for (; i < n; ++i) sum += terms[i];
  for (const float lane : lanes) sum += lane;
  return sum;
}

}  // namespace

float largest(const float* logits, int n) {
  float lanes[k_lanes];
  int unordered[k_lanes] = {};
  std::fill(lanes, lanes + k_lanes, -std::numeric_limits<float>::infinity());
  const auto see = [&](int lane, float logit) {
    lanes[lane] = logit > lanes[lane] ? logit : lanes[lane];
    unordered[lane] |= logit != logit ? 1 : 0;
  };
  int i = 0;
  for (; i + k_lanes <= n; i += k_lanes)
    for (int lane = 0; lane < k_lanes; ++lane) see(lane, logits[i + lane]);
  for (; i < n; ++i) see(0, logits[i]);
  if (std::find(unordered, unordered + k_lanes, 1) != unordered + k_lanes)
    return std::numeric_limits<float>::quiet_NaN();
  return *std::max_element(lanes, lanes + k_lanes);
}

int32_t first_equal(const float* logits, int n, float highest) {
  const float* found = std::find(logits, logits + n, highest);
  return found == logits + n ? -1 : static_cast<int32_t>(found - logits);
}

double sum_exp(const float* logits, int n, float highest, float scale) {
  float terms[k_block];
  double sum = 0;
  for (int i = 0; i < n; i += k_block) {
    sum += block_terms(logits + i, std::min(k_block, n - i), highest, scale, terms);
  }
  return sum;
}

int32_t find_cumulative(const float* logits, int n, float highest, float scale, double target) {
  float terms[k_block];
  double before = 0;
  for (int i = 0; i < n; i += k_block) {
    const int width = std::min(k_block, n - i);
    const double sum = block_terms(logits + i, width, highest, scale, terms);
    if (before + sum <= target) {
      before += sum;
      continue;
    }
    int32_t last = -1;  // rounding may leave the target beyond the block's last term
    for (int j = 0; j < width; ++j) {
      before += terms[j];
      if (terms[j] > 0) last = i + j;
      if (before > target && last >= 0) return last;
    }
    if (last >= 0) return last;
  }
  for (int i = n - 1; i >= 0; --i) {
    if (exp_of((logits[i] - highest) * scale) > 0) return i;
  }
  return -1;
}

void select_top(const float* logits, int n, int k, std::vector<Candidate>& top) {
  top.clear();
  k = std::min(k, n);
  if (k <= 0) return;
  const size_t wanted = static_cast<size_t>(k);
  const size_t room = std::max<size_t>(2 * wanted, 256);
  bool is_full = false;  // more than k seen: only better ones than the k-th matter
  float threshold = 0;
  for (int i = 0; i < n; ++i) {
    if (is_full ? !(logits[i] > threshold) : logits[i] != logits[i]) continue;
    top.push_back({i, logits[i]});
    if (top.size() < room) continue;
    std::nth_element(top.begin(), top.begin() + (k - 1), top.end(), ranks_before);
    top.resize(wanted);
    threshold = top.back().logit;
    is_full = true;
  }
  if (top.size() > wanted) {
    std::nth_element(top.begin(), top.begin() + (k - 1), top.end(), ranks_before);
    top.resize(wanted);
  }
  std::sort(top.begin(), top.end(), ranks_before);
}

}  // namespace millrace
