// What the tiles of a product share, whatever its weights; and the tile of f32 weights.

// Some blocks of one group of rows, and where their products go.
struct Strip {
  const uint8_t* weights;  // of the first block
  int blocks;
  const float* from;  // [tokens][k_group_rows] that the sums go on from; null: from zero
  const float* bias;  // added at the end, or null
  int lanes;          // rows of the group that exist
  float* out;
  int64_t out_stride;

  // The blocks before the last leave their sums in `rest`, where those after the first find them:
  // an output whose rows lie a power of two apart has one set of the first cache for all tokens.
  void set_part(bool is_first, bool is_last, float* rest) {
    if (!is_first) from = rest;
    if (is_last) return;
    bias = nullptr;
    lanes = k_group_rows;
    out = rest;
    out_stride = k_group_rows;
  }
  void advance(int n_tokens) {
    out += n_tokens * out_stride;
    if (from) from += n_tokens * k_group_rows;
  }
};

// The sums of T tokens, of which the first n exist. A strip by value: nothing that is stored can
// change it.
template <int T>
inline void load_sums(const Strip strip, F32 (&sums)[k_halves][T], int n = T) {
  for (int h = 0; h < k_halves; h++)
#pragma GCC unroll 16
    for (int t = 0; t < T; t++)
      sums[h][t] =
          strip.from && t < n ? V::load(strip.from + t * k_group_rows + h * V::k_width) : V::zero();
}

template <int T>
inline void store_sums(const Strip strip, F32 (&sums)[k_halves][T], int n = T) {
  for (int h = 0; h < k_halves; h++) {
    const int lanes = std::min(strip.lanes - h * V::k_width, V::k_width);
    if (lanes <= 0) return;
    const F32 bias = strip.bias ? V::load_first(strip.bias + h * V::k_width, lanes) : V::zero();
#pragma GCC unroll 16
    for (int t = 0; t < T; t++) {
      if (t >= n) break;
      const F32 v = strip.bias ? V::add(sums[h][t], bias) : sums[h][t];
      float* p = strip.out + t * strip.out_stride + h * V::k_width;
      if (lanes == V::k_width)
        V::store(p, v);
      else
        V::store_first(p, lanes, v);
    }
  }
}

// Tokens are taken in tiles of k_tile, then of smaller powers of two.
constexpr int tile_width(int n) {
  for (int width = V::k_tile; width > 1; width /= 2)
    if (n >= width) return width;
  return 1;
}

// Calls run.operator()<width>() with the width of a tile.
template <class F>
inline void with_width(int width, F&& run) {
  if (width == 8) {
    if constexpr (V::k_tile >= 8) run.template operator()<8>();
  } else if (width == 4) {
    run.template operator()<4>();
  } else if (width == 2) {
    run.template operator()<2>();
  } else {
    run.template operator()<1>();
  }
}

// G groups at once, so that enough sums are on their way when there is one token.
template <int G, int T>
void tile_floats(const Strip* strips, const float* x, int cols) {
  F32 sums[G][k_halves][T];
  for (int g = 0; g < G; g++) load_sums(strips[g], sums[g]);
  int64_t at = 0;
  for (int k = 0; k < cols; k++, x += T) {
    if (T == 1 && V::k_prefetch_far_bytes > 0 && at % 64 == 0)
      for (int g = 0; g < G; g++) prefetch_line(strips[g].weights + at);
#pragma GCC unroll 2
    for (int h = 0; h < k_halves; h++, at += sizeof(float) * V::k_width) {
#pragma GCC unroll 4
      for (int g = 0; g < G; g++) {
        const F32 w = V::load(reinterpret_cast<const float*>(strips[g].weights + at));
#pragma GCC unroll 16
        for (int t = 0; t < T; t++) sums[g][h][t] = V::fma(w, V::splat(x[t]), sums[g][h][t]);
      }
    }
  }
  for (int g = 0; g < G; g++) store_sums(strips[g], sums[g]);
}
