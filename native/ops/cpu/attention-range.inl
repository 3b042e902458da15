// Attention of one tile of query rows over one range of positions. A row is one query head of one
// token; the rows of one kv head that share a tile read each key and value once. A range is k_range
// consecutive positions at a multiple of k_range, whatever the batch: within it scores, softmax and
// the weighted sum of values run in one order. Positions that a row does not see have weight +0,
// which changes no bit of its sums.

constexpr int k_range = 256;
constexpr int k_tile_rows = 24;
constexpr int k_score_stride = k_range + 16;  // keeps rows out of each other's cache sets

// Vectors that a register block of R rows is wide.
constexpr int k_vectors = V::k_width == 16 ? 4 : 2;
template <int R>
constexpr int k_score_vectors = R <= 2 ? 4 : k_vectors;
template <int R>
constexpr int k_weigh_vectors = R <= 2 ? 2 * k_vectors : k_vectors;
// Fetching ahead: few rows wait for memory; full blocks wait for arithmetic, and lose a third by
// it.
template <int R>
constexpr bool k_fetches = R < 6;

struct Tile {
  const Span* span;
  int kv_head;
  int first_row, n_rows;  // among the span's n_rows * group rows, row = token * group + head
};

// What every tile of one call shares.
struct AttentionPlan {
  const AttentionArgs& args;
  CacheLayout layout;
  int group;  // query heads per kv head

  explicit AttentionPlan(const AttentionArgs& a)
      : args(a), layout(a.cache.shape), group(a.heads / a.cache.shape.kv_heads) {}

  int position(const Tile& tile, int row) const {
    return tile.span->first_position + (tile.first_row + row) / group;
  }
  int first_seen(int position) const {
    return args.window > 0 ? std::max(0, position - args.window + 1) : 0;
  }
  // Element index of a tile's row in q or out.
  int64_t offset(const Tile& tile, int row, int64_t stride) const {
    const int index = tile.first_row + row;
    const int64_t head = static_cast<int64_t>(tile.kv_head) * group + index % group;
    return (tile.span->first_row + index / group) * stride + head * layout.head_dim;
  }
  char* block(const Tile& tile, int position) const {
    const int64_t layer_head =
        static_cast<int64_t>(args.layer) * args.cache.shape.kv_heads + tile.kv_head;
    return block_of(args.cache, layout, tile.span->pages, position, layer_head);
  }
  int n_ranges(const Tile& tile) const { return last_range(tile) - first_range(tile) + 1; }
  int first_range(const Tile& tile) const { return first_seen(position(tile, 0)) / k_range; }
  int last_range(const Tile& tile) const { return position(tile, tile.n_rows - 1) / k_range; }
};

// The weighted sum of values of each row of a tile over some positions, not yet divided by `sum`.
struct Partial {
  float* max;  // [n_rows]; -inf where the row saw nothing
  float* sum;  // [n_rows]
  float* out;  // [n_rows, v_dim]

  static int64_t floats(const CacheLayout& layout, int n_rows) {
    return n_rows * (2 + static_cast<int64_t>(layout.v_dim));
  }
  Partial(float* room, int n_rows) : max(room), sum(room + n_rows), out(room + 2 * n_rows) {}
};

// One worker's memory.
struct Workbench {
  float* q;       // [k_tile_rows, head_dim], scaled
  float* scores;  // [k_tile_rows, k_score_stride]
  Partial part, whole;

  static int64_t floats(const CacheLayout& layout) {
    return k_tile_rows * static_cast<int64_t>(layout.v_dim + k_score_stride) +
           2 * Partial::floats(layout, k_tile_rows);
  }
  Workbench(float* room, const CacheLayout& layout)
      : q(room),
        scores(room + k_tile_rows * layout.v_dim),
        part(scores + k_tile_rows * k_score_stride, k_tile_rows),
        whole(part.out + k_tile_rows * layout.v_dim, k_tile_rows) {}
};

// Positions [first, last) of one range.
struct Reach {
  int start;  // of the range
  int first, last;
};

// C vectors of positions: their blocks, slots, and the bytes to those that come next.
template <int C>
struct KeyVectors {
  const char* blocks[C];
  int slots[C];
  int64_t ahead[C];

  KeyVectors(const AttentionPlan& plan, const Tile& tile, int position, int element_bytes) {
    const int tokens = plan.layout.page_tokens, last = plan.position(tile, tile.n_rows - 1);
    for (int c = 0; c < C; ++c, position += V::k_width) {
      const int next = std::min(position + C * V::k_width, last);
      blocks[c] = plan.block(tile, position);
      slots[c] = position % tokens;
      const int64_t step = CacheLayout::lane_offset(next % tokens, plan.layout.head_dim) -
                           CacheLayout::lane_offset(slots[c], plan.layout.head_dim);
      ahead[c] = plan.block(tile, next) - blocks[c] + step * element_bytes;
    }
  }
};

// scores[r][0 .. C * width) = q[r] . keys of C vectors of positions, for R rows. Every lane sums
// over the dimensions in order; with scaled types, 32 dimensions at a time.
template <class Cache, int R, int C>
static void score_block(const CacheLayout& layout, const float* q, const KeyVectors<C>& vectors,
                        float* scores) {
  using Element = typename Cache::Element;
  const int dim = layout.head_dim;
  const int step = Cache::k_scaled ? 32 : dim;
  for (int first = 0; first < dim; first += step) {
    V::f32 sum[R][C];
    for (int r = 0; r < R; ++r)
      for (int c = 0; c < C; ++c) sum[r][c] = V::zero();
    const Element* keys[C];
    for (int c = 0; c < C; ++c)
      keys[c] = reinterpret_cast<const Element*>(vectors.blocks[c]) +
                CacheLayout::lane_offset(vectors.slots[c], dim) + first * k_lane_tokens;
    for (int d = first; d < first + step; ++d) {
      V::f32 key[C];
      for (int c = 0; c < C; ++c) {
        key[c] = Cache::load(keys[c]);
        if constexpr (k_fetches<R>)
          V::prefetch(reinterpret_cast<const char*>(keys[c]) + vectors.ahead[c]);
        keys[c] += k_lane_tokens;
      }
      for (int r = 0; r < R; ++r) {
        const V::f32 x = V::splat(q[r * dim + d]);
        for (int c = 0; c < C; ++c) sum[r][c] = V::fma(x, key[c], sum[r][c]);
      }
    }
    for (int c = 0; c < C; ++c) {
      const auto* scales = reinterpret_cast<const float*>(vectors.blocks[c] + layout.k_scales);
      for (int r = 0; r < R; ++r) {
        float* out = scores + r * k_score_stride + c * V::k_width;
        if constexpr (Cache::k_scaled) {
          const V::f32 scale =
              V::load(scales + CacheLayout::lane_offset(vectors.slots[c], dim / 32) +
                      first / 32 * k_lane_tokens);
          const V::f32 before = first ? V::load(out) : V::zero();
          V::store(out, V::fma(sum[r][c], scale, before));
        } else {
          V::store(out, sum[r][c]);
        }
      }
    }
  }
}

template <class Cache, int R>
static void score_rows(const AttentionPlan& plan, const Tile& tile, const Reach& reach,
                       const float* q, float* scores) {
  constexpr int C = k_score_vectors<R>;
  constexpr int k_bytes = sizeof(typename Cache::Element);
  int position = reach.first / V::k_width * V::k_width;
  for (; position + (C - 1) * V::k_width < reach.last; position += C * V::k_width)
    score_block<Cache, R, C>(plan.layout, q, KeyVectors<C>(plan, tile, position, k_bytes),
                             scores + position - reach.start);
  for (; position < reach.last; position += V::k_width)
    score_block<Cache, R, 1>(plan.layout, q, KeyVectors<1>(plan, tile, position, k_bytes),
                             scores + position - reach.start);
}

// sums[r][0 .. C * width) = scores[r] . values, for R rows, C vectors of dimensions from `lane` on.
template <class Cache, int R, int C>
static void weigh_block(const AttentionPlan& plan, const Tile& tile, const Reach& reach,
                        const float* scores, int lane, float* out) {
  using Element = typename Cache::Element;
  const CacheLayout& layout = plan.layout;
  const int tokens = layout.page_tokens;
  const int last = plan.position(tile, tile.n_rows - 1);
  V::f32 sum[R][C];
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c) sum[r][c] = V::zero();
  for (int position = reach.first; position < reach.last;) {
    const char* block = plan.block(tile, position);
    const int slot = position % tokens;
    const int n = std::min(tokens - slot, reach.last - position);
    const auto* values = reinterpret_cast<const Element*>(block + layout.v) +
                         static_cast<int64_t>(slot) * layout.v_dim + lane;
    const auto* scales =
        reinterpret_cast<const float*>(block + layout.v_scales) + slot * (layout.head_dim / 32);
    const float* weights = scores + position - reach.start;
    const int64_t ahead = plan.block(tile, std::min(position + tokens, last)) - block;
    for (int i = 0; i < n; ++i, values += layout.v_dim, scales += layout.head_dim / 32) {
      V::f32 value[C];
      for (int c = 0; c < C; ++c) {
        value[c] = Cache::load(values + c * V::k_width);
        if constexpr (Cache::k_scaled)
          value[c] = V::mul(value[c], V::splat(scales[(lane + c * V::k_width) / 32]));
        if constexpr (k_fetches<R>)
          V::prefetch(reinterpret_cast<const char*>(values + c * V::k_width) + ahead);
      }
      for (int r = 0; r < R; ++r) {
        const V::f32 weight = V::splat(weights[r * k_score_stride + i]);
        for (int c = 0; c < C; ++c) sum[r][c] = V::fma(weight, value[c], sum[r][c]);
      }
    }
    position += n;
  }
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c) V::store(out + r * layout.v_dim + lane + c * V::k_width, sum[r][c]);
}

template <class Cache, int R>
static void weigh_rows(const AttentionPlan& plan, const Tile& tile, const Reach& reach,
                       const float* scores, float* out) {
  constexpr int C = k_weigh_vectors<R>;
  int lane = 0;
  for (; lane + C * V::k_width <= plan.layout.v_dim; lane += C * V::k_width)
    weigh_block<Cache, R, C>(plan, tile, reach, scores, lane, out);
  for (; lane < plan.layout.v_dim; lane += V::k_width)
    weigh_block<Cache, R, 1>(plan, tile, reach, scores, lane, out);
}

// Calls body(rows, first row) for register blocks of 6, 4, 2 and 1 rows that cover n.
template <class F>
static void in_row_blocks(int n, F&& body) {
  int row = 0;
  for (; n - row >= 6; row += 6) body(std::integral_constant<int, 6>(), row);
  for (; n - row >= 4; row += 4) body(std::integral_constant<int, 4>(), row);
  for (; n - row >= 2; row += 2) body(std::integral_constant<int, 2>(), row);
  for (; n - row >= 1; row += 1) body(std::integral_constant<int, 1>(), row);
}

// Scores of one row to weights e^(score - max) in place, +0 where the row does not see; `seen` is
// what it does see of the range, `reach` what was scored.
static void soften_row(const AttentionArgs& args, const Reach& reach, const Reach& seen,
                       float* scores, float& max, float& sum) {
  const int begin = reach.first / V::k_width * V::k_width - reach.start;
  const int end = (reach.last - reach.start + V::k_width - 1) / V::k_width * V::k_width;
  max = -INFINITY;
  sum = 0.0f;
  if (seen.first >= seen.last) {
    std::fill(scores + begin, scores + end, 0.0f);
    return;
  }
  if (args.soft_cap > 0) {
    const V::f32 cap = V::splat(args.soft_cap), inverse = V::splat(1.0f / args.soft_cap);
    for (int i = begin; i < end; i += V::k_width)
      V::store(scores + i, V::mul(cap, tanh_vec(V::mul(V::load(scores + i), inverse))));
  }
  std::fill(scores + begin, scores + (seen.first - reach.start), -INFINITY);
  std::fill(scores + (seen.last - reach.start), scores + end, -INFINITY);
  V::f32 top = V::splat(-INFINITY);
  for (int i = begin; i < end; i += V::k_width) top = V::max(top, V::load(scores + i));
  max = V::max_of(top);
  V::f32 total = V::zero();
  for (int i = begin; i < end; i += V::k_width) {
    const V::f32 weight = exp_vec(V::sub(V::load(scores + i), V::splat(max)));
    V::store(scores + i, weight);
    total = V::add(total, weight);
  }
  sum = V::sum(total);
}

// One range of a tile into `part`.
template <class Cache>
static void attend_range(const AttentionPlan& plan, const Tile& tile, int range, Workbench& bench,
                         Partial& part) {
  const int start = range * k_range;
  const Reach reach{start, std::max(start, plan.first_seen(plan.position(tile, 0))),
                    std::min(start + k_range, plan.position(tile, tile.n_rows - 1) + 1)};
  const int dim = plan.layout.head_dim;
  in_row_blocks(tile.n_rows, [&](auto rows, int row) {
    score_rows<Cache, rows()>(plan, tile, reach, bench.q + row * dim,
                              bench.scores + row * k_score_stride);
  });
  for (int row = 0; row < tile.n_rows; ++row) {
    const int position = plan.position(tile, row);
    const Reach seen{start, std::max(start, plan.first_seen(position)),
                     std::min(start + k_range, position + 1)};
    soften_row(plan.args, reach, seen, bench.scores + row * k_score_stride, part.max[row],
               part.sum[row]);
  }
  in_row_blocks(tile.n_rows, [&](auto rows, int row) {
    weigh_rows<Cache, rows()>(plan, tile, reach, bench.scores + row * k_score_stride,
                              part.out + row * plan.layout.v_dim);
  });
}
