// Attention of tiles of query rows over ranges of positions. A row is one query head of one token;
// the rows of one kv head that share a tile read each key and value once. A range is
// k_range consecutive positions at a multiple of k_range, whatever the batch: within it scores,
// softmax and the weighted sum of values run in one order, and ranges are merged in order. Positions
// that a row does not see have weight +0, which changes no bit of its sums.

constexpr int k_range = 256;
constexpr int k_tile_rows = 24;
constexpr int k_score_stride = k_range + 16;      // keeps rows out of each other's cache sets

// Vectors that a register block of R rows is wide, and whether it fetches ahead: few rows wait for
// memory, many for arithmetic.
constexpr int k_vectors = V::k_width == 16 ? 4 : 2;
template <int R>
constexpr int k_score_vectors = R <= 2 ? 4 : k_vectors;
template <int R>
constexpr int k_weigh_vectors = R <= 2 ? 2 * k_vectors : k_vectors;
template <int R>
constexpr bool k_fetches = R <= 2;

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
  int n_ranges(const Tile& tile) const {
    return last_range(tile) - first_range(tile) + 1;
  }
  int first_range(const Tile& tile) const { return first_seen(position(tile, 0)) / k_range; }
  int last_range(const Tile& tile) const { return position(tile, tile.n_rows - 1) / k_range; }
};

// The weighted sum of values of each row of a tile over some positions, not yet divided by `sum`.
struct Partial {
  float* max;  // [k_tile_rows]; -inf where the row saw nothing
  float* sum;  // [k_tile_rows]
  float* out;  // [k_tile_rows, v_dim]

  static int64_t floats(const CacheLayout& layout) {
    return k_tile_rows * (2 + static_cast<int64_t>(layout.v_dim));
  }
  explicit Partial(float* room) : max(room), sum(room + k_tile_rows), out(room + 2 * k_tile_rows) {}
};

// One worker's memory.
struct Workbench {
  float* q;       // [k_tile_rows, head_dim], scaled
  float* scores;  // [k_tile_rows, k_score_stride]
  Partial part, whole;

  static int64_t floats(const CacheLayout& layout) {
    return k_tile_rows * static_cast<int64_t>(layout.v_dim + k_score_stride) +
           2 * Partial::floats(layout);
  }
  Workbench(float* room, const CacheLayout& layout)
      : q(room),
        scores(room + k_tile_rows * layout.v_dim),
        part(scores + k_tile_rows * k_score_stride),
        whole(scores + k_tile_rows * k_score_stride + Partial::floats(layout)) {}
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
      ahead[c] = plan.block(tile, next) - blocks[c] + (next % tokens - slots[c]) * element_bytes;
    }
  }
};

// scores[r][0 .. C * width) = q[r] . keys of C vectors of positions, for R rows. Every lane sums over
// the dimensions in order; with scaled types, 32 dimensions at a time.
template <class Cache, int R, int C>
static void score_block(const CacheLayout& layout, const float* q, const KeyVectors<C>& vectors,
                        float* scores) {
  using Element = typename Cache::Element;
  const int dim = layout.head_dim, tokens = layout.page_tokens;
  const int step = Cache::k_scaled ? 32 : dim;
  for (int first = 0; first < dim; first += step) {
    V::f32 sum[R][C];
    for (int r = 0; r < R; ++r)
      for (int c = 0; c < C; ++c) sum[r][c] = V::zero();
    const Element* keys[C];
    for (int c = 0; c < C; ++c)
      keys[c] = reinterpret_cast<const Element*>(vectors.blocks[c]) + vectors.slots[c] +
                static_cast<int64_t>(first) * tokens;
    for (int d = first; d < first + step; ++d) {
      V::f32 key[C];
      for (int c = 0; c < C; ++c) {
        key[c] = Cache::load(keys[c]);
        if constexpr (k_fetches<R>)
          V::prefetch(reinterpret_cast<const char*>(keys[c]) + vectors.ahead[c]);
        keys[c] += tokens;
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
          const V::f32 scale = V::load(scales + (first / 32) * tokens + vectors.slots[c]);
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
    const auto* scales = reinterpret_cast<const float*>(block + layout.v_scales) +
                         slot * (layout.head_dim / 32);
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

static float exp_of(float x) {
  float lanes[V::k_width];
  V::store(lanes, exp_vec(V::splat(x)));
  return lanes[0];
}

// whole = whole and the later `part` together.
static void merge(const CacheLayout& layout, int n_rows, const Partial& part, Partial& whole) {
  for (int row = 0; row < n_rows; ++row) {
    if (part.max[row] == -INFINITY) continue;
    const float* from = part.out + row * layout.v_dim;
    float* to = whole.out + row * layout.v_dim;
    if (whole.max[row] == -INFINITY) {
      whole.max[row] = part.max[row];
      whole.sum[row] = part.sum[row];
      memcpy(to, from, sizeof(float) * static_cast<size_t>(layout.v_dim));
      continue;
    }
    const float max = std::max(whole.max[row], part.max[row]);
    const float before = exp_of(whole.max[row] - max), now = exp_of(part.max[row] - max);
    whole.max[row] = max;
    whole.sum[row] = whole.sum[row] * before + part.sum[row] * now;
    for (int d = 0; d < layout.v_dim; d += V::k_width) {
      const V::f32 old = V::mul(V::load(to + d), V::splat(before));
      V::store(to + d, V::fma(V::load(from + d), V::splat(now), old));
    }
  }
}

static void load_queries(const AttentionPlan& plan, const Tile& tile, Workbench& bench) {
  const int dim = plan.layout.head_dim;
  const V::f32 scale = V::splat(plan.args.scale);
  for (int row = 0; row < tile.n_rows; ++row) {
    const float* q = plan.args.q + plan.offset(tile, row, plan.args.q_stride);
    for (int d = 0; d < dim; d += V::k_width)
      store_up_to(bench.q + row * dim + d, dim - d, V::mul(load_up_to(q + d, dim - d), scale));
  }
}

static void write_rows(const AttentionPlan& plan, const Tile& tile, const Partial& whole) {
  const int dim = plan.layout.head_dim;
  for (int row = 0; row < tile.n_rows; ++row) {
    float* out = plan.args.out + plan.offset(tile, row, plan.args.out_stride);
    const V::f32 share = V::splat(1.0f / whole.sum[row]);
    for (int d = 0; d < dim; d += V::k_width)
      store_up_to(out + d, dim - d, V::mul(V::load(whole.out + row * plan.layout.v_dim + d), share));
  }
}

static void clear(int n_rows, Partial& whole) {
  std::fill_n(whole.max, n_rows, -INFINITY);
  std::fill_n(whole.sum, n_rows, 0.0f);
}

template <class Cache>
static void attend_tile(const AttentionPlan& plan, const Tile& tile, Workbench bench) {
  load_queries(plan, tile, bench);
  clear(tile.n_rows, bench.whole);
  for (int range = plan.first_range(tile); range <= plan.last_range(tile); ++range) {
    attend_range<Cache>(plan, tile, range, bench, bench.part);
    merge(plan.layout, tile.n_rows, bench.part, bench.whole);
  }
  write_rows(plan, tile, bench.whole);
}

// The tiles of a call, the longest ones first.
static int list_tiles(const AttentionPlan& plan, Tile* tiles) {
  const AttentionArgs& args = plan.args;
  int n = 0;
  for (int s = 0; s < args.n_spans; ++s) {
    const int rows = args.spans[s].n_rows * plan.group;
    const int n_tiles = (rows + k_tile_rows - 1) / k_tile_rows;
    for (int t = n_tiles - 1; t >= 0; --t)
      for (int head = 0; head < args.cache.shape.kv_heads; ++head) {
        const int first = t * k_tile_rows;
        tiles[n++] = {&args.spans[s], head, first, std::min(k_tile_rows, rows - first)};
      }
  }
  return n;
}

static int count_tiles(const AttentionPlan& plan) {
  int n = 0;
  for (int s = 0; s < plan.args.n_spans; ++s)
    n += (plan.args.spans[s].n_rows * plan.group + k_tile_rows - 1) / k_tile_rows;
  return n * plan.args.cache.shape.kv_heads;
}

// Tiles per range of parallel_for: all when the whole call is worth no fork.
static int tile_grain(const AttentionPlan& plan, const Tile* tiles, int n_tiles) {
  constexpr int64_t k_fork_products = 100000;
  int64_t products = 0;
  for (int i = 0; i < n_tiles && products < k_fork_products; ++i) {
    const int last = plan.position(tiles[i], tiles[i].n_rows - 1);
    products += int64_t{2} * plan.layout.head_dim * tiles[i].n_rows * (last + 1);
  }
  return products < k_fork_products ? n_tiles : 1;
}

// Few tiles over many positions: the ranges are spread over the workers and merged afterwards, in
// the order in which attend_tile merges them.
template <class Cache>
static void attend_by_ranges(Queue& queue, const AttentionPlan& plan, const Tile* tiles,
                             int n_tiles, int most_ranges, float* benches, float* parts) {
  const int64_t bench_floats = Workbench::floats(plan.layout);
  const int64_t part_floats = Partial::floats(plan.layout);
  ThreadPool& pool = queue.pool();
  pool.parallel_for(n_tiles * most_ranges, 1, [&](int begin, int end, int worker) {
    for (int i = begin; i < end; ++i) {
      const Tile& tile = tiles[i / most_ranges];
      const int range = plan.first_range(tile) + i % most_ranges;
      if (range > plan.last_range(tile)) continue;
      Workbench bench(benches + worker * bench_floats, plan.layout);
      Partial part(parts + i * part_floats);
      load_queries(plan, tile, bench);
      attend_range<Cache>(plan, tile, range, bench, part);
    }
  });
  pool.parallel_for(n_tiles, 1, [&](int begin, int end, int worker) {
    for (int i = begin; i < end; ++i) {
      Workbench bench(benches + worker * bench_floats, plan.layout);
      clear(tiles[i].n_rows, bench.whole);
      for (int range = 0; range < plan.n_ranges(tiles[i]); ++range) {
        const Partial part(parts + (static_cast<int64_t>(i) * most_ranges + range) * part_floats);
        merge(plan.layout, tiles[i].n_rows, part, bench.whole);
      }
      write_rows(plan, tiles[i], bench.whole);
    }
  });
}

static void attention(Queue& queue, const AttentionArgs& args) {
  if (refuses_head_dim(queue, args.cache.shape)) return;
  const AttentionPlan plan(args);
  ThreadPool& pool = queue.pool();
  const int n_tiles = count_tiles(plan);
  int most_ranges = 0;
  for (int s = 0; s < args.n_spans; ++s)
    most_ranges = std::max(
        most_ranges, (args.spans[s].first_position + args.spans[s].n_rows - 1) / k_range + 1);
  const bool by_ranges = pool.size() > 1 && most_ranges > 1 && n_tiles < 2 * pool.size();

  const int64_t bench_floats = Workbench::floats(plan.layout);
  const int64_t part_floats =
      by_ranges ? Partial::floats(plan.layout) * most_ranges * n_tiles : 0;
  const size_t tile_bytes = (sizeof(Tile) * static_cast<size_t>(n_tiles) + 63) / 64 * 64;
  auto* room = static_cast<char*>(queue.scratch(
      tile_bytes + sizeof(float) * static_cast<size_t>(bench_floats * pool.size() + part_floats)));
  if (!room) return;
  auto* tiles = reinterpret_cast<Tile*>(room);
  auto* benches = reinterpret_cast<float*>(room + tile_bytes);
  list_tiles(plan, tiles);

  with_cache_type(args.cache.shape.dtype, [&](auto cache) {
    using Cache = decltype(cache);
    if (by_ranges)
      return attend_by_ranges<Cache>(queue, plan, tiles, n_tiles, most_ranges, benches,
                                     benches + bench_floats * pool.size());
    pool.parallel_for(n_tiles, tile_grain(plan, tiles, n_tiles), [&](int begin, int end, int worker) {
      for (int i = begin; i < end; ++i)
        attend_tile<Cache>(plan, tiles[i],
                           Workbench(benches + worker * bench_floats, plan.layout));
    });
  });
}
