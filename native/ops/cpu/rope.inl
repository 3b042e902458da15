// Rotary embedding. The turns of k_width pairs are computed once per token and used by every head.

struct Turn {
  V::f32 sine, cosine;
};

static Turn turn_of(const RopeArgs& args, int32_t position, int pair, int n) {
  Turn turn;
  const V::f32 frequency = load_up_to(args.inv_freq + pair, n);
  sincos_vec(V::splat(static_cast<float>(position)), frequency, turn.sine, turn.cosine);
  const V::f32 magnitude = V::splat(args.magnitude);
  return {V::mul(turn.sine, magnitude), V::mul(turn.cosine, magnitude)};
}

// Pairs (i, i + rotary / 2), n of them from `first` on.
static void turn_split(const RopeArgs& args, const Turn& turn, float* first, int n) {
  for (int head = 0; head < args.heads; ++head, first += args.head_dim) {
    float* second = first + args.rotary / 2;
    const V::f32 a = load_up_to(first, n), b = load_up_to(second, n);
    store_up_to(first, n, V::sub(V::mul(a, turn.cosine), V::mul(b, turn.sine)));
    store_up_to(second, n, V::fma(a, turn.sine, V::mul(b, turn.cosine)));
  }
}

// Pairs (2i, 2i + 1), n of them from `first` on.
static void turn_adjacent(const RopeArgs& args, const Turn& turn, float* first, int n) {
  float sines[2 * V::k_width], cosines[2 * V::k_width];
  V::store(sines, turn.sine);
  V::store(cosines, turn.cosine);
  for (int i = V::k_width - 1; i >= 0; --i) {
    sines[2 * i] = sines[2 * i + 1] = sines[i];
    cosines[2 * i] = cosines[2 * i + 1] = cosines[i];
  }
  for (int j = 0; j < 2 * n; j += V::k_width) {
    const V::f32 sine = V::load(sines + j), cosine = V::load(cosines + j);
    for (int head = 0; head < args.heads; ++head) {
      float* x = first + static_cast<int64_t>(head) * args.head_dim + j;
      const V::f32 v = load_up_to(x, 2 * n - j);
      store_up_to(x, 2 * n - j, V::fmaddsub(v, cosine, V::mul(V::swap_pairs(v), sine)));
    }
  }
}

static void rope_row(const RopeArgs& args, int64_t row) {
  float* x = args.x + row * args.x_stride;
  const int pairs = args.rotary / 2;
  for (int i = 0; i < pairs; i += V::k_width) {
    const int n = std::min(V::k_width, pairs - i);
    const Turn turn = turn_of(args, args.positions[row], i, n);
    if (args.adjacent) turn_adjacent(args, turn, x + 2 * i, n);
    if (!args.adjacent) turn_split(args, turn, x + i, n);
  }
}

static void rope(Queue& queue, const RopeArgs& args) {
  const int grain = grain_of(static_cast<int64_t>(args.heads) * args.head_dim);
  queue.pool().parallel_for(args.n, grain, [&](int begin, int end, int) {
    for (int row = begin; row < end; ++row) rope_row(args, row);
  });
}
