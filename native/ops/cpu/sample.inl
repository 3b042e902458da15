// Tokens from rows of logits as sampling.h says it, and the best of each row. A row is looked at in
// blocks, of which the highest value and, where it is asked for, the weight are kept: most
// questions are then answered by few of them. Cuts by rank come down to one bound, the key of the
// last one kept, found by adding up bins of keys: no sort of more than one bin.

constexpr int k_block = 512;           // values; so few that 32 bits hold each half of their weight
constexpr int k_blocks_at_a_time = 4;  // of one worker
constexpr int k_bin_bits = 11;
constexpr int k_room = 2048;  // keys that are ranked at once
constexpr uint64_t k_lowest_key = static_cast<uint64_t>(0x007fffff) << 32;  // of minus infinity

// Of a value, the lowest key there is: any index.
static uint64_t first_key_of(float value) { return rank_key(value, 0) & ~uint64_t{0xffffffff}; }

// One row on its way to a token. `bound` and `least` say what is kept, by rank and by distance.
struct Row {
  float* values;
  float* peaks;    // the highest value of each block; NaN where any is
  uint64_t* sums;  // of the weights of each block
  int width;
  float highest = 0;
  float inverse_temperature = 1;
  float least = SampleQuery().least;
  uint64_t bound = k_lowest_key;

  int n_blocks() const { return (width + k_block - 1) / k_block; }
  const float* block(int b) const { return values + b * k_block; }
  int block_width(int b) const { return std::min(k_block, width - b * k_block); }
  uint64_t weight(float value) const { return weight_of(value, highest, inverse_temperature); }
  bool keeps(uint64_t key) const {
    return key >= bound && (value_of_key(key) - highest) * inverse_temperature >= least;
  }
  // Not above any value that is kept, whatever the rounding.
  float lowest_kept() const {
    const float distance = (least * 1.0001f - 0x1p-126f) / inverse_temperature;
    return std::max(value_of_key(bound), highest + distance);
  }
};

// By whole numbers that are ordered as the values are, all NaN beyond the infinities.
static float peak_of(const float* values, int n) {
  int32_t most = std::numeric_limits<int32_t>::min(), fewest = std::numeric_limits<int32_t>::max();
  for (int i = 0; i < n; ++i) {
    const int32_t bits = std::bit_cast<int32_t>(values[i]);
    const int32_t ordered = bits ^ ((bits >> 31) & 0x7fffffff);
    most = std::max(most, ordered);
    fewest = std::min(fewest, ordered);
  }
  constexpr int32_t k_infinity = 0x7f800000, k_minus_infinity = ~k_infinity;
  if (most > k_infinity || fewest < k_minus_infinity)
    return std::numeric_limits<float>::quiet_NaN();
  return std::bit_cast<float>(most ^ ((most >> 31) & 0x7fffffff)) + 0.0f;  // -0 counts as 0
}

// A weight is computed in two halves, which vectors can convert to whole numbers.
constexpr int k_half_bits = k_weight_bits / 2;
constexpr float k_half_weight = 1 << k_half_bits;
static_assert(2 * k_half_bits == k_weight_bits && k_block <= 1 << (31 - k_half_bits));

// The sum of weight_of.
static uint64_t weight_of_block(const float* values, int n, float highest, float scale) {
  uint32_t high_sum = 0, low_sum = 0;
  for (int i = 0; i < n; ++i) {
    const float weight = millrace::exp_of((values[i] - highest) * scale) * k_half_weight;
    const int32_t high = static_cast<int32_t>(weight);
    const int32_t low = static_cast<int32_t>((weight - static_cast<float>(high)) * k_half_weight);
    high_sum += static_cast<uint32_t>(high);
    low_sum += static_cast<uint32_t>(low);
  }
  return (static_cast<uint64_t>(high_sum) << k_half_bits) + low_sum;
}

// NaN where any value is.
static float highest_of(const Row& row) {
  float highest = row.peaks[0];
  for (int b = 1; b < row.n_blocks(); ++b)
    highest = row.peaks[b] > highest || row.peaks[b] != row.peaks[b] ? row.peaks[b] : highest;
  return highest;
}

static uint64_t weight_of_row(const Row& row) {
  uint64_t sum = 0;
  for (int b = 0; b < row.n_blocks(); ++b) sum += row.sums[b];
  return sum;
}

// Values looked at together: GCC makes vectors of loops this long, and unrolls shorter ones.
constexpr int k_lanes = 64;

[[gnu::noinline]] static void weights_of(const Row& row, const float* values, uint64_t* weights) {
  int32_t high[k_lanes], low[k_lanes];
  for (int i = 0; i < k_lanes; ++i) {
    const float weight =
        millrace::exp_of((values[i] - row.highest) * row.inverse_temperature) * k_half_weight;
    high[i] = static_cast<int32_t>(weight);
    low[i] = static_cast<int32_t>((weight - static_cast<float>(high[i])) * k_half_weight);
  }
  for (int i = 0; i < k_lanes; ++i)
    weights[i] = (static_cast<uint64_t>(high[i]) << k_half_bits) + static_cast<uint64_t>(low[i]);
}

// Calls body(key, measure), which says whether to go on, for each value from `low` on, in order of
// index: with its weight, or with 1.
template <bool Weighs, class F>
static void visit(const Row& row, float low, F&& body) {
  constexpr int k_few = 8;  // up to so many, weights are computed one by one
  for (int b = 0; b < row.n_blocks(); ++b) {
    if (row.peaks[b] < low) continue;
    const int last = b * k_block + row.block_width(b);
    for (int i = b * k_block; i < last; i += k_lanes) {
      const float* values = row.values + i;
      const int n = std::min(k_lanes, last - i);
      int n_here = 0;
      if (n == k_lanes)
        for (int lane = 0; lane < k_lanes; ++lane) n_here += values[lane] >= low ? 1 : 0;
      if (n == k_lanes && n_here == 0) continue;
      uint64_t weights[k_lanes];
      const bool has_weights = Weighs && n_here > k_few;
      if (has_weights) weights_of(row, values, weights);
      for (int lane = 0; lane < n; ++lane) {
        const float value = values[lane];
        if (!(value >= low)) continue;
        const uint64_t measure = !Weighs ? 1 : has_weights ? weights[lane] : row.weight(value);
        if (!body(rank_key(value, i + lane), measure)) return;
      }
    }
  }
}

// By a function of this region's own: what the library instantiates for all, the linker takes from
// any region.
static void sort_down(uint64_t* keys, int n) {
  std::sort(keys, keys + n, [](uint64_t a, uint64_t b) { return a > b; });
}

struct Ranking {
  uint64_t sums[1 << k_bin_bits];
  int counts[1 << k_bin_bits];
  uint64_t keys[k_room];
};

// Of a cut by rank: the key of the last one kept, 0 where all values amount to less than wanted,
// and what those kept amount to.
struct Cut {
  uint64_t bound = 0;
  uint64_t amount = 0;
};

// Down to which the values from `low` on, best first, amount to `wanted`: a number of values, or
// their weight.
template <bool Weighs>
static Cut cut_from(const Row& row, uint64_t low, uint64_t wanted) {
  Ranking ranking;
  uint64_t high = row.highest == row.highest ? rank_key(row.highest, 0) : k_nan_key;
  uint64_t amount = 0;
  for (int shift = 64; shift > 0;) {
    shift = std::max(0, static_cast<int>(std::bit_width(high - low)) - k_bin_bits);
    memset(ranking.sums, 0, sizeof ranking.sums);
    memset(ranking.counts, 0, sizeof ranking.counts);
    visit<Weighs>(row, value_of_key(low), [&](uint64_t key, uint64_t measure) {
      if (key < low || key > high) return true;
      const size_t bin = (high - key) >> shift;
      ranking.sums[bin] += measure;
      ++ranking.counts[bin];
      return true;
    });
    const int n_bins = static_cast<int>((high - low) >> shift) + 1;
    int bin = 0;
    while (bin < n_bins && amount + ranking.sums[bin] < wanted) amount += ranking.sums[bin++];
    if (bin == n_bins) return {};
    high -= static_cast<uint64_t>(bin) << shift;
    low = std::max(low, high - std::min(high, (uint64_t{1} << shift) - 1));
    if (ranking.counts[bin] <= k_room) break;
  }
  int n = 0;
  visit<false>(row, value_of_key(low), [&](uint64_t key, uint64_t) {
    if (key >= low && key <= high) ranking.keys[n++] = key;
    return true;
  });
  sort_down(ranking.keys, n);
  for (int i = 0; i < n; ++i) {
    amount += Weighs ? row.weight(value_of_key(ranking.keys[i])) : 1;
    if (amount >= wanted) return {ranking.keys[i], amount};
  }
  return {};
}

// A key that k values reach, if there are so many: the k-th of the blocks' peaks. Spoils the sums.
static uint64_t reached_by(const Row& row, int k) {
  const int n = row.n_blocks();
  if (k > n || row.highest != row.highest) return k_lowest_key;
  auto* peaks = reinterpret_cast<float*>(row.sums);
  memcpy(peaks, row.peaks, sizeof(float) * static_cast<size_t>(n));
  std::nth_element(peaks, peaks + (k - 1), peaks + n, [](float a, float b) { return a > b; });
  return first_key_of(peaks[k - 1]);
}

static Cut cut_to_share(const Row& row, uint64_t wanted) {
  constexpr float k_near = 8;  // nats, within which the share mostly is
  const float near = row.highest - k_near / row.inverse_temperature;
  const uint64_t low = std::max(row.bound, first_key_of(near));
  const Cut cut = cut_from<true>(row, low, wanted);
  return cut.bound > 0 || low == row.bound ? cut : cut_from<true>(row, row.bound, wanted);
}

static uint64_t weight_of_kept(const Row& row) {
  uint64_t sum = 0;
  visit<true>(row, row.lowest_kept(), [&](uint64_t key, uint64_t weight) {
    sum += row.keeps(key) ? weight : 0;
    return true;
  });
  return sum;
}

static int walk_kept(const Row& row, uint64_t walk) {
  int found = -1;
  visit<true>(row, row.lowest_kept(), [&](uint64_t key, uint64_t weight) {
    if (!row.keeps(key)) return true;
    if (weight > walk) found = index_of_key(key);
    walk -= std::min(walk, weight);
    return found < 0;
  });
  return found;
}

static int walk_all(const Row& row, double uniform) {
  uint64_t left = walk_of(uniform, weight_of_row(row));
  int b = 0;
  while (b + 1 < row.n_blocks() && left >= row.sums[b]) left -= row.sums[b++];
  int i = b * k_block;
  for (; i + 1 < row.width && left >= row.weight(row.values[i]); ++i)
    left -= row.weight(row.values[i]);
  return i;
}

static int first_highest(const Row& row) {
  int b = 0;
  while (row.peaks[b] != row.highest) ++b;
  int i = b * k_block;
  while (row.values[i] != row.highest) ++i;
  return i;
}

static bool has_least(const SampleQuery& asked) { return asked.least > SampleQuery().least; }

static bool cuts_by_rank(const Row& row, const SampleQuery& asked) {
  return asked.top_k > 0 && asked.top_k < row.width;
}

// What has only a least distance is walked without the sum of all.
static bool needs_weights(const Row& row, const SampleQuery& asked) {
  return asked.target < 0 && asked.inverse_temperature > 0 && is_finite(row.highest) &&
         !cuts_by_rank(row, asked) && (asked.top_p < 1 || !has_least(asked));
}

static int draw(Row& row, const SampleQuery& asked) {
  if (!is_finite(row.highest)) return -1;
  if (asked.inverse_temperature == 0) return first_highest(row);
  const bool has_sums = needs_weights(row, asked);
  if (has_sums && asked.top_p >= 1) return walk_all(row, asked.uniform);
  if (cuts_by_rank(row, asked)) {
    const auto k = static_cast<uint64_t>(asked.top_k);
    row.bound = cut_from<false>(row, reached_by(row, asked.top_k), k).bound;
  }
  uint64_t amount = 0;
  if (asked.top_p < 1) {
    const uint64_t all = has_sums ? weight_of_row(row) : weight_of_kept(row);
    const Cut cut = cut_to_share(row, share_of(static_cast<double>(asked.top_p), all));
    row.bound = cut.bound;
    amount = cut.amount;
  }
  row.least = asked.least;
  if (asked.top_p >= 1 || has_least(asked)) amount = weight_of_kept(row);
  return walk_kept(row, walk_of(asked.uniform, amount));
}

// Calls body(row, block) for all blocks of the rows.
template <class F>
static void for_blocks(Queue& queue, Row* rows, int n, F&& body) {
  const int n_blocks = rows[0].n_blocks();
  queue.pool().parallel_for(n * n_blocks, k_blocks_at_a_time, [&](int begin, int end, int) {
    for (int i = begin; i < end; ++i) body(i / n_blocks, i % n_blocks);
  });
}

// In scratch memory of the queue, `more` bytes behind them; null: refused.
static Row* open_rows(Queue& queue, float* values, int n, int width, size_t more) {
  const int n_blocks = Row{nullptr, nullptr, nullptr, width}.n_blocks();
  const size_t total = static_cast<size_t>(n) * n_blocks;
  auto* rows = static_cast<Row*>(
      queue.scratch(n * sizeof(Row) + total * (sizeof(uint64_t) + sizeof(float)) + more));
  if (!rows) return nullptr;
  auto* sums = reinterpret_cast<uint64_t*>(rows + n);
  auto* peaks = reinterpret_cast<float*>(sums + total);
  for (int64_t i = 0; i < n; ++i)
    new (rows + i) Row{values + i * width, peaks + i * n_blocks, sums + i * n_blocks, width};
  for_blocks(queue, rows, n, [&](int i, int b) {
    rows[i].peaks[b] = peak_of(rows[i].block(b), rows[i].block_width(b));
  });
  for (int i = 0; i < n; ++i) rows[i].highest = highest_of(rows[i]);
  return rows;
}

// What is changed is looked at again.
static void change(Row& row, const SampleQuery& asked, const LogitChange* changes,
                   float* originals) {
  for (int i = 0; i < asked.n_changes; ++i) {
    float& value = row.values[changes[i].token];
    originals[i] = value;
    value = changed(value, changes[i], asked);
    row.peaks[changes[i].token / k_block] = std::numeric_limits<float>::quiet_NaN();
  }
  if (asked.n_changes == 0) return;
  for (int b = 0; b < row.n_blocks(); ++b)
    if (row.peaks[b] != row.peaks[b]) row.peaks[b] = peak_of(row.block(b), row.block_width(b));
  row.highest = highest_of(row);
}

static void weigh(Queue& queue, Row* rows, int n, const bool* is_asked) {
  for_blocks(queue, rows, n, [&](int i, int b) {
    const Row& row = rows[i];
    if (is_asked[i])
      row.sums[b] =
          weight_of_block(row.block(b), row.block_width(b), row.highest, row.inverse_temperature);
  });
}

static void sample(Queue& queue, const SampleArgs& args) {
  if (args.width > k_most_width)
    return queue.fail(error(ErrorCode::invalid_argument, "Expected rows of at most %d but found %d",
                            k_most_width, args.width));
  if (args.n == 0) return;
  const size_t n = static_cast<size_t>(args.n), n_changes = static_cast<size_t>(args.n_changes);
  Row* rows = open_rows(queue, args.values, args.n, args.width,
                        n_changes * sizeof(float) + n * sizeof(bool));
  if (!rows) return;
  auto* originals = reinterpret_cast<float*>(rows[n - 1].peaks + rows[n - 1].n_blocks());
  auto* is_asked = reinterpret_cast<bool*>(originals + n_changes);
  const auto weigh_where = [&](const auto& asks) {
    bool any = false;
    for (size_t i = 0; i < n; ++i) any |= is_asked[i] = asks(rows[i], args.rows[i]);
    if (any) weigh(queue, rows, args.n, is_asked);
  };
  weigh_where([](const Row& row, const SampleQuery& asked) {
    return asked.wants_sum && is_finite(row.highest);
  });
  const auto for_rows = [&](const auto& body) {
    queue.pool().parallel_for(args.n, 1, [&](int begin, int end, int) {
      for (int i = begin; i < end; ++i) body(rows[i], args.rows[i], args.out[i]);
    });
  };
  for_rows([&](Row& row, const SampleQuery& asked, SampleResult& out) {
    out = {is_asked[&row - rows] ? weight_of_row(row) : 0, asked.target, 0.0f, row.highest};
    row.inverse_temperature = asked.inverse_temperature;
    if (asked.target >= 0)
      out.value = row.values[asked.target];
    else
      change(row, asked, args.changes + asked.first_change, originals + asked.first_change);
  });
  weigh_where(needs_weights);
  for_rows([&](Row& row, const SampleQuery& asked, SampleResult& out) {
    if (asked.target >= 0) return;
    out.token = draw(row, asked);
    if (out.token < 0) return;
    out.value = row.values[out.token];
    for (int i = asked.first_change; i < asked.first_change + asked.n_changes; ++i)
      if (args.changes[i].token == out.token) out.value = originals[i];
  });
}

static void list_best(const Row& row, int k, TopValue* out) {
  const Cut cut = cut_from<false>(row, reached_by(row, k), static_cast<uint64_t>(k));
  const uint64_t low = std::max(cut.bound, k_lowest_key);
  uint64_t keys[k_most_top];
  int n = 0;
  visit<false>(row, value_of_key(low), [&](uint64_t key, uint64_t) {
    if (key >= low) keys[n++] = key;
    return true;
  });
  sort_down(keys, n);
  for (int i = n; i < k; ++i) out[i] = {-1, 0.0f};
  for (int i = 0; i < n; ++i) out[i] = {index_of_key(keys[i]), row.values[index_of_key(keys[i])]};
}

static void top_k(Queue& queue, const TopKArgs& args) {
  if (args.k < 1 || args.k > k_most_top)
    return queue.fail(error(ErrorCode::invalid_argument, "Expected k to be 1..%d but found %d",
                            k_most_top, args.k));
  if (args.n == 0) return;
  const Row* rows = open_rows(queue, const_cast<float*>(args.values), args.n, args.width, 0);
  if (!rows) return;
  queue.pool().parallel_for(args.n, 1, [&](int begin, int end, int) {
    for (int i = begin; i < end; ++i)
      list_best(rows[i], args.k, args.out + static_cast<int64_t>(i) * args.k);
  });
}
