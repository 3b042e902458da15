// Attention: the tiles of a call, the merge of their ranges and the division among workers. Ranges
// are merged in order, wherever they were computed, so the bits do not depend on the division.

// With the bits of exp_vec.
static float exp_as_vec(float x) {
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
    const float before = exp_as_vec(whole.max[row] - max), now = exp_as_vec(part.max[row] - max);
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
      store_up_to(out + d, dim - d,
                  V::mul(V::load(whole.out + row * plan.layout.v_dim + d), share));
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

// The tiles of a call, the longest ones of a sequence first.
static void list_tiles(const AttentionPlan& plan, Tile* tiles) {
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
}

static int count_tiles(const AttentionPlan& plan, const Span& span) {
  const int n = (span.n_rows * plan.group + k_tile_rows - 1) / k_tile_rows;
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

// How one call is divided, and the memory it works in.
struct Division {
  Tile* tiles;
  int n_tiles;
  int most_ranges;  // of a tile
  int most_rows;    // of a tile
  float* benches;   // one Workbench per worker
  float* parts;     // one Partial per tile and range, or null: each tile goes to one worker
};

// Few tiles over many positions: the ranges are spread over the workers and merged afterwards, in
// the order in which attend_tile merges them.
template <class Cache>
static void attend_by_ranges(Queue& queue, const AttentionPlan& plan, const Division& division) {
  const int64_t bench_floats = Workbench::floats(plan.layout);
  const int most_ranges = division.most_ranges;
  const auto part_of = [&](int tile, int range) {
    const int64_t index = static_cast<int64_t>(tile) * most_ranges + range;
    const int64_t floats = Partial::floats(plan.layout, division.most_rows);
    return Partial(division.parts + index * floats, division.most_rows);
  };
  ThreadPool& pool = queue.pool();
  pool.parallel_for(division.n_tiles * most_ranges, 1, [&](int begin, int end, int worker) {
    for (int i = begin; i < end; ++i) {
      const Tile& tile = division.tiles[i / most_ranges];
      const int range = plan.first_range(tile) + i % most_ranges;
      if (range > plan.last_range(tile)) continue;
      Workbench bench(division.benches + worker * bench_floats, plan.layout);
      Partial part = part_of(i / most_ranges, i % most_ranges);
      load_queries(plan, tile, bench);
      attend_range<Cache>(plan, tile, range, bench, part);
    }
  });
  pool.parallel_for(division.n_tiles, 1, [&](int begin, int end, int worker) {
    for (int i = begin; i < end; ++i) {
      const Tile& tile = division.tiles[i];
      Workbench bench(division.benches + worker * bench_floats, plan.layout);
      clear(tile.n_rows, bench.whole);
      for (int range = 0; range < plan.n_ranges(tile); ++range)
        merge(plan.layout, tile.n_rows, part_of(i, range), bench.whole);
      write_rows(plan, tile, bench.whole);
    }
  });
}

template <class Cache>
static void attend_by_tiles(Queue& queue, const AttentionPlan& plan, const Division& division) {
  const int64_t bench_floats = Workbench::floats(plan.layout);
  const int grain = tile_grain(plan, division.tiles, division.n_tiles);
  queue.pool().parallel_for(division.n_tiles, grain, [&](int begin, int end, int worker) {
    const Workbench bench(division.benches + worker * bench_floats, plan.layout);
    for (int i = begin; i < end; ++i) attend_tile<Cache>(plan, division.tiles[i], bench);
  });
}

// Chooses the division and takes its memory; false when there is none.
static bool divide(Queue& queue, const AttentionPlan& plan, Division& division) {
  constexpr int64_t k_most_part_floats = int64_t{16} << 20;
  const int n_workers = queue.pool().size();
  int n_tiles = 0, most_ranges = 0, most_rows = 0;
  int64_t all_ranges = 0;
  for (int s = 0; s < plan.args.n_spans; ++s) {
    const Span& span = plan.args.spans[s];
    const int ranges = (span.first_position + span.n_rows - 1) / k_range + 1;
    const int tiles = count_tiles(plan, span);
    most_ranges = std::max(most_ranges, ranges);
    n_tiles += tiles;
    all_ranges += int64_t{ranges} * tiles;
    most_rows = std::max(most_rows, std::min(k_tile_rows, span.n_rows * plan.group));
  }
  const int64_t part_floats =
      Partial::floats(plan.layout, most_rows) * most_ranges * static_cast<int64_t>(n_tiles);
  // Whole tiles are too coarse where there are few, or where one is long beside a worker's share.
  const bool are_coarse =
      n_tiles < 2 * n_workers || int64_t{2} * most_ranges * n_workers > all_ranges;
  const bool by_ranges =
      n_workers > 1 && most_ranges > 1 && are_coarse && part_floats <= k_most_part_floats;
  const int64_t bench_floats = Workbench::floats(plan.layout) * n_workers;
  const size_t tile_bytes = (sizeof(Tile) * static_cast<size_t>(n_tiles) + 63) / 64 * 64;
  const int64_t floats = bench_floats + (by_ranges ? part_floats : 0);
  void* room = queue.scratch(tile_bytes + sizeof(float) * static_cast<size_t>(floats));
  if (!room) return false;
  auto* benches = reinterpret_cast<float*>(static_cast<char*>(room) + tile_bytes);
  division = {static_cast<Tile*>(room),
              n_tiles,
              most_ranges,
              most_rows,
              benches,
              by_ranges ? benches + bench_floats : nullptr};
  list_tiles(plan, division.tiles);
  return true;
}

static void attention(Queue& queue, const AttentionArgs& args) {
  if (refuses_head_dim(queue, args.cache.shape)) return;
  const AttentionPlan plan(args);
  Division division;
  if (!divide(queue, plan, division)) return;
  with_cache_type(args.cache.shape.dtype, [&](auto cache) {
    using Cache = decltype(cache);
    if (division.parts) return attend_by_ranges<Cache>(queue, plan, division);
    attend_by_tiles<Cache>(queue, plan, division);
  });
}
