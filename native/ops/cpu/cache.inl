// The KV cache of the CPU tables. Per layer and kv head a page holds one block: keys with 16
// positions in lanes [page_tokens / 16][head_dim][16], so that a new key touches few cache lines,
// then values with the dimensions in lanes [page_tokens][v_dim]. q8_0 adds f32 scales per 32
// dimensions: keys' [page_tokens / 16][head_dim / 32][16] after the keys, values'
// [page_tokens][head_dim / 32] after the values.

constexpr int k_lane_tokens = 16;

struct CacheLayout {
  int page_tokens, head_dim;
  int v_dim;  // head_dim in whole vectors of any table
  int element_bytes;
  int64_t k_scales, v, v_scales, block_bytes;  // offsets in a block, and its size

  explicit CacheLayout(const KvShape& shape)
      : page_tokens(shape.page_tokens), head_dim(shape.head_dim) {
    v_dim = (head_dim + 15) / 16 * 16;
    element_bytes = shape.dtype == DType::f32 ? 4 : shape.dtype == DType::f16 ? 2 : 1;
    const int64_t scales =
        shape.dtype == DType::q8_0 ? int64_t{4} * page_tokens * (head_dim / 32) : 0;
    k_scales = static_cast<int64_t>(head_dim) * page_tokens * element_bytes;
    v = k_scales + scales;
    v_scales = v + static_cast<int64_t>(page_tokens) * v_dim * element_bytes;
    block_bytes = v_scales + scales;
  }

  // Elements before the first of `n` per-position items of a slot, which lie k_lane_tokens apart.
  static int64_t lane_offset(int slot, int n) {
    return static_cast<int64_t>(slot / k_lane_tokens) * n * k_lane_tokens + slot % k_lane_tokens;
  }
};

static size_t kv_page_bytes(const KvShape& shape) {
  const bool known = shape.dtype == DType::f32 || shape.dtype == DType::f16 ||
                     (shape.dtype == DType::q8_0 && shape.head_dim % 32 == 0);
  if (!known) return 0;
  return static_cast<size_t>(CacheLayout(shape).block_bytes) * static_cast<size_t>(shape.layers) *
         static_cast<size_t>(shape.kv_heads);
}

// The block of one layer and kv head in the page that holds a position.
static char* block_of(const KvCacheView& cache, const CacheLayout& layout, const int32_t* pages,
                      int position, int64_t layer_head) {
  const int64_t page = pages[position / layout.page_tokens];
  return static_cast<char*>(cache.data) + page * static_cast<int64_t>(cache.page_bytes) +
         layer_head * layout.block_bytes;
}

// Element types of the cache: a vector of them as f32, and a row of f32 encoded.
struct CacheF32 {
  using Element = float;
  static constexpr bool k_scaled = false;
  static V::f32 load(const void* p) { return V::load(static_cast<const float*>(p)); }
  static void encode(const float* x, int n, float* codes, float*) {
    memcpy(codes, x, sizeof(float) * static_cast<size_t>(n));
  }
};

struct CacheF16 {
  using Element = uint16_t;
  static constexpr bool k_scaled = false;
  static V::f32 load(const void* p) { return V::load_f16(p); }
  // Saturates: an infinity in the cache would spoil every later token.
  static void encode(const float* x, int n, uint16_t* codes, float*) {
    for (int i = 0; i < n; i += V::k_width)
      V::store_f16(codes + i, clamp_vec(load_up_to(x + i, n - i), -65504.0f, 65504.0f));
  }
};

struct CacheQ80 {
  using Element = int8_t;
  static constexpr bool k_scaled = true;
  static V::f32 load(const void* p) { return V::load_i8(p); }
  // The codes and scales of Q80's encode, 32 values at a time.
  static void encode(const float* x, int n, int8_t* codes, float* scales) {
    for (int i = 0; i < n; i += 32) {
      V::f32 top = V::zero();
      for (int j = 0; j < 32; j += V::k_width) top = V::max(top, V::abs(V::load(x + i + j)));
      const float scale = through_f16(V::max_of(top) / 127.0f);
      const V::f32 inverse = V::splat(scale != 0.0f ? 1.0f / scale : 0.0f);
      for (int j = 0; j < 32; j += V::k_width) {
        const V::f32 level = V::round(V::mul(V::load(x + i + j), inverse));
        V::store_i8(codes + i + j, V::to_i32(clamp_vec(level, -127.0f, 127.0f)));
      }
      scales[i / 32] = scale;
    }
  }
};

// Calls body with the element type of the cache.
template <class F>
static void with_cache_type(DType dtype, F&& body) {
  if (dtype == DType::f32) return body(CacheF32());
  if (dtype == DType::f16) return body(CacheF16());
  body(CacheQ80());
}

static constexpr int k_max_head_dim = 1024;

// Stores one position of one head into its block.
template <class Cache>
static void store_position(const CacheLayout& layout, char* block, int slot, const float* k,
                           const float* v) {
  using Element = typename Cache::Element;
  constexpr int k_room = k_max_head_dim + 16;
  Element codes[k_room];
  float scales[k_max_head_dim / 32];
  const int dim = layout.head_dim, groups = dim / 32;
  Cache::encode(k, dim, codes, scales);
  auto* keys = reinterpret_cast<Element*>(block) + CacheLayout::lane_offset(slot, dim);
  for (int d = 0; d < dim; ++d) keys[d * k_lane_tokens] = codes[d];
  auto* key_scales =
      reinterpret_cast<float*>(block + layout.k_scales) + CacheLayout::lane_offset(slot, groups);
  if (Cache::k_scaled)
    for (int g = 0; g < groups; ++g) key_scales[g * k_lane_tokens] = scales[g];

  Cache::encode(v, dim, codes, scales);
  std::fill(codes + dim, codes + layout.v_dim, Element());
  memcpy(reinterpret_cast<Element*>(block + layout.v) + static_cast<int64_t>(slot) * layout.v_dim,
         codes, sizeof(Element) * static_cast<size_t>(layout.v_dim));
  if (Cache::k_scaled)
    memcpy(block + layout.v_scales + sizeof(float) * static_cast<size_t>(slot * groups), scales,
           sizeof(float) * static_cast<size_t>(groups));
}

template <class Cache>
static void store_span(const StoreArgs& args, const CacheLayout& layout, const Span& span,
                       int head) {
  const int64_t offset = static_cast<int64_t>(head) * layout.head_dim;
  const int64_t layer_head = static_cast<int64_t>(args.layer) * args.cache.shape.kv_heads + head;
  for (int i = 0; i < span.n_rows; ++i) {
    const int64_t row = span.first_row + i;
    const int position = span.first_position + i;
    store_position<Cache>(layout, block_of(args.cache, layout, span.pages, position, layer_head),
                          position % layout.page_tokens, args.k + row * args.k_stride + offset,
                          args.v + row * args.v_stride + offset);
  }
}

static bool refuses_head_dim(Queue& queue, const KvShape& shape) {
  if (shape.head_dim <= k_max_head_dim) return false;
  queue.fail(error(ErrorCode::unsupported, "Expected a head dimension of at most %d but found %d",
                   k_max_head_dim, shape.head_dim));
  return true;
}

static void store(Queue& queue, const StoreArgs& args) {
  const KvShape& shape = args.cache.shape;
  if (refuses_head_dim(queue, shape)) return;
  const CacheLayout layout(shape);
  int n_rows = 0;
  for (int s = 0; s < args.n_spans; ++s) n_rows += args.spans[s].n_rows;
  if (n_rows == 0) return;
  // A range is whole blocks: no two workers write one cache line.
  const int64_t row_floats = int64_t{4} * shape.head_dim * n_rows / args.n_spans;
  with_cache_type(shape.dtype, [&](auto cache) {
    const int n = args.n_spans * shape.kv_heads;
    queue.pool().parallel_for(n, grain_of(row_floats), [&](int begin, int end, int) {
      for (int i = begin; i < end; ++i)
        store_span<decltype(cache)>(args, layout, args.spans[i / shape.kv_heads],
                                    i % shape.kv_heads);
    });
  });
}
