// The operators that rank logits: sampling as sampling.h says it, by a sort of everything.

#include <algorithm>
#include <functional>
#include <vector>

#include "ops/device.h"
#include "ops/reference.h"

namespace millrace {
namespace {

// Values, best first.
struct Ranked {
  std::vector<uint64_t> keys;
  float highest;

  Ranked(const float* values, int width) {
    for (int i = 0; i < width; ++i) {
      const uint64_t key = rank_key(values[i], i);
      keys.push_back(key ? key : k_nan_key);
    }
    std::sort(keys.begin(), keys.end(), std::greater<>());
    highest = value_of_key(keys[0]);
  }
  uint64_t weight(uint64_t key, float inverse_temperature) const {
    return weight_of(value_of_key(key), highest, inverse_temperature);
  }
  uint64_t sum(float inverse_temperature) const {
    uint64_t sum = 0;
    for (const uint64_t key : keys) sum += weight(key, inverse_temperature);
    return sum;
  }
};

void cut(const SampleQuery& row, Ranked& ranked) {
  std::vector<uint64_t>& keys = ranked.keys;
  if (row.top_k > 0 && static_cast<size_t>(row.top_k) < keys.size())
    keys.resize(static_cast<size_t>(row.top_k));
  if (row.top_p < 1) {
    const uint64_t wanted =
        share_of(static_cast<double>(row.top_p), ranked.sum(row.inverse_temperature));
    uint64_t reached = 0;
    size_t kept = 0;
    while (reached < wanted) reached += ranked.weight(keys[kept++], row.inverse_temperature);
    keys.resize(kept);
  }
  std::erase_if(keys, [&](uint64_t key) {
    return !((value_of_key(key) - ranked.highest) * row.inverse_temperature >= row.least);
  });
}

int32_t draw(const SampleQuery& row, Ranked ranked) {
  if (!is_finite(ranked.highest)) return -1;
  if (row.inverse_temperature == 0) return index_of_key(ranked.keys[0]);
  cut(row, ranked);
  const uint64_t end = walk_of(row.uniform, ranked.sum(row.inverse_temperature));
  std::sort(ranked.keys.begin(), ranked.keys.end(),
            [](uint64_t a, uint64_t b) { return index_of_key(a) < index_of_key(b); });
  uint64_t walked = 0;
  for (const uint64_t key : ranked.keys) {
    walked += ranked.weight(key, row.inverse_temperature);
    if (walked > end) return index_of_key(key);
  }
  return -1;
}

SampleResult sample_row(const SampleQuery& row, const LogitChange* changes, float* values,
                        int width) {
  const Ranked before(values, width);
  SampleResult out{0, row.target, 0.0f, before.highest};
  if (row.wants_sum && is_finite(before.highest)) out.weight_sum = before.sum(1.0f);
  if (row.target >= 0) {
    out.value = values[row.target];
    return out;
  }
  const std::vector<float> original(values, values + width);
  for (int i = 0; i < row.n_changes; ++i) {
    const LogitChange& change = changes[row.first_change + i];
    values[change.token] = changed(values[change.token], change, row);
  }
  out.token = draw(row, Ranked(values, width));
  if (out.token >= 0) out.value = original[static_cast<size_t>(out.token)];
  return out;
}

}  // namespace

void reference_top_k(Queue& queue, const TopKArgs& args) {
  if (args.k < 1 || args.k > k_most_top)
    return queue.fail(error(ErrorCode::invalid_argument, "Expected k to be 1..%d but found %d",
                            k_most_top, args.k));
  std::vector<uint64_t> keys(static_cast<size_t>(args.width));
  for (int64_t i = 0; i < args.n; ++i) {
    const float* row = args.values + i * args.width;
    TopValue* out = args.out + i * args.k;
    for (int j = 0; j < args.width; ++j) keys[static_cast<size_t>(j)] = rank_key(row[j], j);
    const int k = std::min(args.k, args.width);
    std::partial_sort(keys.begin(), keys.begin() + k, keys.end(), std::greater<>());
    std::fill(out, out + args.k, TopValue{-1, 0.0f});
    for (int j = 0; j < k && keys[static_cast<size_t>(j)] > 0; ++j) {
      out[j].index = index_of_key(keys[static_cast<size_t>(j)]);
      out[j].value = row[out[j].index];
    }
  }
}

void reference_sample(Queue& queue, const SampleArgs& args) {
  if (args.width > k_most_width)
    return queue.fail(error(ErrorCode::invalid_argument, "Expected rows of at most %d but found %d",
                            k_most_width, args.width));
  for (int i = 0; i < args.n; ++i)
    args.out[i] = sample_row(args.rows[i], args.changes,
                             args.values + static_cast<int64_t>(i) * args.width, args.width);
}

}  // namespace millrace
