// Elementwise operators.

// Calls body(first, last) for ranges of [0, count) that start at multiples of k_width.
template <class F>
static void parallel_elements(Queue& queue, int64_t count, F&& body) {
  constexpr int64_t k_block = 4096;
  const int blocks = static_cast<int>((count + k_block - 1) / k_block);
  queue.pool().parallel_for(blocks, 4, [&](int begin, int end, int) {
    body(begin * k_block, std::min(count, end * k_block));
  });
}

static V::f32 same_vec(V::f32 x) { return x; }

template <V::f32 (*Activation)(V::f32)>
static void gate_with(Queue& queue, const GateArgs& args) {
  parallel_elements(queue, args.count, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; i += V::k_width) {
      const int n = static_cast<int>(std::min<int64_t>(V::k_width, last - i));
      const V::f32 active = Activation(load_up_to(args.gate + i, n));
      store_up_to(args.out + i, n, V::mul(active, load_up_to(args.up + i, n)));
    }
  });
}

static void gate(Queue& queue, const GateArgs& args) {
  switch (args.act) {
    case Act::silu:
      return gate_with<silu_vec>(queue, args);
    case Act::gelu_tanh:
      return gate_with<gelu_tanh_vec>(queue, args);
    case Act::none:
      return gate_with<same_vec>(queue, args);
  }
}

static void add(Queue& queue, const AddArgs& args) {
  parallel_elements(queue, args.count, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; i += V::k_width) {
      const int n = static_cast<int>(std::min<int64_t>(V::k_width, last - i));
      store_up_to(args.x + i, n, V::add(load_up_to(args.x + i, n), load_up_to(args.y + i, n)));
    }
  });
}

static void gather(Queue&, const GatherArgs& args) {
  const int64_t dim = args.dim;
  for (int64_t i = 0; i < args.n; ++i)
    memcpy(args.out + i * dim, args.x + args.rows[i] * dim, sizeof(float) * args.dim);
}
