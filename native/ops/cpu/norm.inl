// Root mean square norm. Four running sums of squares per row, then one fixed order.

static V::f32 load_up_to(const float* p, int n) {
  return n >= V::k_width ? V::load(p) : V::load_first(p, n);
}

static void store_up_to(float* p, int n, V::f32 v) {
  if (n >= V::k_width) return V::store(p, v);
  V::store_first(p, n, v);
}

static float sum_of_squares(const float* x, int dim) {
  V::f32 part[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  int j = 0;
  for (; j + 4 * V::k_width <= dim; j += 4 * V::k_width)
    for (int lane = 0; lane < 4; ++lane) {
      const V::f32 v = V::load(x + j + lane * V::k_width);
      part[lane] = V::fma(v, v, part[lane]);
    }
  for (; j < dim; j += V::k_width) {
    const V::f32 v = load_up_to(x + j, dim - j);
    part[0] = V::fma(v, v, part[0]);
  }
  return V::sum(V::add(V::add(part[0], part[1]), V::add(part[2], part[3])));
}

static void norm_row(const NormArgs& args, int64_t row) {
  const int dim = args.dim;
  float* x = args.x + row * dim;
  float* out = args.out + row * dim;
  if (args.add)
    for (int j = 0; j < dim; j += V::k_width) {
      const V::f32 sum =
          V::add(load_up_to(x + j, dim - j), load_up_to(args.add + row * dim + j, dim - j));
      store_up_to(x + j, dim - j, sum);
    }
  const float mean = sum_of_squares(x, dim) / static_cast<float>(dim);
  const V::f32 scale = V::splat(1.0f / std::sqrt(mean + args.eps));
  for (int j = 0; j < dim; j += V::k_width) {
    const V::f32 v = V::mul(load_up_to(x + j, dim - j), scale);
    store_up_to(out + j, dim - j, V::mul(v, load_up_to(args.weight + j, dim - j)));
  }
}

static void norm(Queue& queue, const NormArgs& args) {
  queue.pool().parallel_for(args.n, grain_of(args.dim), [&](int begin, int end, int) {
    for (int row = begin; row < end; ++row) norm_row(args, row);
  });
}
