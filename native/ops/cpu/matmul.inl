// The products. Every output is computed by one formula in one order, whatever the number of
// tokens, the tile and the thread: for a quantized type, with the input of each 32 columns as q *
// dx,
//   sum = (sum of code * q) - zero * (sum of q)                      an exact integer, per
//   sub-block out = fma(sum, d * dx, out), then fma(min, dx * (sum of q), out)   sub-blocks in
//   order of K
// and out = fma(w, x, out) for every k for f32; F16 and BF16 are in wide.inl. A lane is a row, so
// nothing is summed across lanes. Few tokens read the packed form; more unpack a panel once for all
// of them.

// 32 columns of one token's input. minus, sum: [0], [1] of each half, [2] of the whole.
struct alignas(64) InputBlock {
  int8_t q[k_block_cols];
  float scale;
  int32_t minus[3];  // -(sum of q)
  float sum[3];      // scale * (sum of q)
};

// out += the part of a sub-block for the input x: its sum of products, scaled, and its minimum.
template <class S>
[[gnu::always_inline]] inline void add_products(V::i32 sum, F32 d, F32 min, const InputBlock& x,
                                                int part, F32& out) {
  out = V::fma(V::to_f32(sum), V::mul(d, V::splat(x.scale)), out);
  if constexpr (S::k_min) out = V::fma(min, V::splat(x.sum[part]), out);
}

// One block of G groups: sums += its part for T tokens.
template <class S, int G, int T>
[[gnu::always_inline]] inline void add_block(const Strip* strips, const InputBlock* x, int block,
                                             F32 (&sums)[G][k_halves][T]) {
  constexpr int k_subs = k_block_cols / S::k_sub;
  constexpr int k_sub_steps = k_steps / k_subs;
#pragma GCC unroll 2
  for (int j = 0; j < k_subs; j++) {
    const int part = k_subs == 1 ? 2 : j;
    F32 d[G * k_halves], min[G * k_halves];
    const uint8_t* codes[G * k_halves];
    for (int i = 0; i < G * k_halves; i++) {
      const uint8_t* weights = strips[i / k_halves].weights;
      const int h = i % k_halves;
      codes[i] = S::codes_at(weights, block) + h * V::k_bytes;
      d[i] = S::scale(weights, block, j, h);
      min[i] = V::zero();
      if constexpr (S::k_min) min[i] = S::min(weights, block, j, h);
    }
    const auto code = [&](int i, int s) __attribute__((always_inline)) {
      return S::step(codes[i], j * k_sub_steps + s);
    };
    const auto init = [&](int t) __attribute__((always_inline)) {
      if constexpr (S::k_zero_log2 < 0)
        return V::splat_i32(0);
      else
        return V::template shl_i32<S::k_zero_log2>(V::splat_i32(x[t].minus[part]));
    };
    const auto done = [&](int i, int t, V::i32 sum) __attribute__((always_inline)) {
      add_products<S>(sum, d[i], min[i], x[t], part, sums[i / k_halves][i % k_halves][t]);
    };
    V::template dot<S::k_bits, k_sub_steps, G * k_halves, T>(code, x->q + j * S::k_sub,
                                                             sizeof(InputBlock), init, done);
  }
}

// T tokens of a tile of `width`.
template <class S, int G, int T>
void tile(const Strip* strips, const InputBlock* x, int width) {
  F32 sums[G][k_halves][T];
  for (int g = 0; g < G; g++) load_sums(strips[g], sums[g]);
  for (int b = 0; b < strips->blocks; b++) {
    if constexpr (S::k_is_packed)
      for (int g = 0; g < G; g++)
        prefetch_block<S, V::k_prefetches_all || T == V::k_tile>(strips[g].weights, b);
    add_block<S, G, T>(strips, x + b * width, b, sums);
  }
  for (int g = 0; g < G; g++) store_sums(strips[g], sums[g]);
}

// The tile of a product by whole matrices, of which the first n tokens exist.
template <class P, int T = V::k_matrix_tokens>
void matrix_tile(const Strip& strip, const InputBlock* x, int n) {
  constexpr int k_subs = k_block_cols / P::k_sub;
  constexpr int k_sub_bytes = k_steps / k_subs * k_plane_bytes;
  alignas(64) int32_t products[2][T * k_group_rows];
  F32 sums[k_halves][T];
  load_sums(strip, sums, n);
  const int count = strip.blocks * k_subs;
  for (int i = 0; i < count; i += 2) {
    const uint8_t* codes[2];
    const int8_t* q[2];
    for (int k = 0; k < 2; k++) {
      const int at = std::min(i + k, count - 1), block = at / k_subs, j = at % k_subs;
      codes[k] = P::codes_at(strip.weights, block) + j * k_sub_bytes;
      q[k] = x[block * T].q + j * P::k_sub;
    }
    V::multiply(codes, q, sizeof(InputBlock), products);
#pragma GCC unroll 2
    for (int k = 0; k < 2; k++) {
      if (i + k == count) break;
      const int block = (i + k) / k_subs, j = (i + k) % k_subs;
      const int part = k_subs == 1 ? 2 : j;
      const InputBlock* input = x + block * T;
      for (int h = 0; h < k_halves; h++) {
        const F32 d = P::scale(strip.weights, block, j, h);
        F32 min = V::zero();
        if constexpr (P::k_min) min = P::min(strip.weights, block, j, h);
#pragma GCC unroll 16
        for (int t = 0; t < T; t++) {
          const V::i32 sum = V::load_i32(products[k] + t * k_group_rows + h * V::k_width);
          add_products<P>(sum, d, min, input[t], part, sums[h][t]);
        }
      }
    }
  }
  store_sums(strip, sums, n);
}

// Whether a product of n tokens runs by whole matrices. Then every tile of its input is of
// k_matrix_tokens, the last one filled up with zeros.
constexpr bool is_by_matrices(int n) { return V::k_matrix_tokens > 0 && n > V::k_direct_tokens; }
constexpr int filled_up(int n) {
  constexpr int k_tokens = std::max(1, V::k_matrix_tokens);
  return is_by_matrices(n) ? (n + k_tokens - 1) / k_tokens * k_tokens : n;
}

// The input of a step as the kernels read it, one after the other by tiles; in a tile of T tokens:
// blocks[block][T] for quantized weights, floats[k][T] for f32, wides[block][T] for wide ones in
// tiles of at most k_wide_tile.
struct Step {
  const MatmulArgs* args = nullptr;
  int cols = 0;
  InputBlock* blocks = nullptr;
  WideBlock* wides = nullptr;
  const float* floats = nullptr;
  uint8_t* panels = nullptr;  // panel_bytes per worker: a panel, sums that rest, room to pack
  size_t panel_bytes = 0;
};

// An input that is not finite gets a scale that is not either, so that every product shows it.
void quantize(const float* x, InputBlock& out) {
  constexpr int k_parts = k_block_cols / V::k_width;
  F32 v[k_parts];
  F32 most = V::zero(), zeros = V::zero();
  for (int i = 0; i < k_parts; i++) {
    v[i] = V::load(x + i * V::k_width);
    most = V::max(V::abs(v[i]), most);
    zeros = V::fma(v[i], V::zero(), zeros);
  }
  const float amax = V::max_of(most);
  const float inverse = amax > 0 ? 127.0f / amax : 0.0f;
  V::i32 sums[2] = {V::splat_i32(0), V::splat_i32(0)};
  for (int i = 0; i < k_parts; i++) {
    const V::i32 q = V::to_i32(V::mul(v[i], V::splat(inverse)));
    V::store_i8(out.q + i * V::k_width, q);
    V::i32& sum = sums[i * 2 / k_parts];
    sum = V::add_i32(sum, q);
  }
  // Unsigned: where the input is not finite the sums wrap around. Not in an array, which gcc reads
  // back two at a time: such a load waits for every store before it.
  const uint32_t low = static_cast<uint32_t>(V::sum_i32(sums[0]));
  const uint32_t high = static_cast<uint32_t>(V::sum_i32(sums[1]));
  const float scale = out.scale = amax / 127.0f + V::sum(zeros);
  const auto put = [&](int i, uint32_t sum) {
    out.minus[i] = static_cast<int32_t>(0u - sum);
    out.sum[i] = scale * static_cast<float>(static_cast<int32_t>(sum));
  };
  put(0, low);
  put(1, high);
  put(2, low + high);
}

// Prepares the blocks of the tile of tokens that starts at `first`, of which n exist.
void prepare_blocks(const Step& step, int first, int width, int n) {
  const int n_blocks = step.cols / k_block_cols;
  InputBlock* out = step.blocks + int64_t(first) * n_blocks;
  const float* x = step.args->x + first * step.args->x_stride;
  for (int b = 0; b < n_blocks; b++)  // written front to back
    for (int t = 0; t < n; t++)
      quantize(x + t * step.args->x_stride + b * k_block_cols, out[b * width + t]);
  for (int t = n; t < width; t++)
    for (int b = 0; b < n_blocks; b++) out[b * width + t] = {};
}

void prepare_floats(const Step& step, int first, int width) {
  float* out = const_cast<float*>(step.floats) + int64_t(first) * step.cols;
  for (int t = 0; t < width; t++) {
    const float* x = step.args->x + (first + t) * step.args->x_stride;
    for (int k = 0; k < step.cols; k++) out[int64_t(k) * width + t] = x[k];
  }
}

void prepare_wides(const Step& step, int first, int width) {
  const int n_blocks = wide_blocks(step.cols), n = std::min(width, V::k_wide_tile);
  WideBlock* out = step.wides + int64_t(first) * n_blocks;
  for (int end = first + width; first < end; first += n)
    for (int b = 0; b < n_blocks; b++)
      for (int t = 0; t < n; t++)
        quantize(step.args->x + (first + t) * step.args->x_stride + b * k_wide_cols,
                 std::min(k_wide_cols, step.cols - b * k_wide_cols), *out++);
}

constexpr int k_most_groups = 4;     // most of one piece of work
constexpr int k_chunk_tokens = 128;  // tokens of one piece of work: whole tiles of either kind
constexpr int k_panel_blocks = 32;   // blocks unpacked at a time: codes fit the first cache
constexpr size_t k_panel_bytes = k_panel_blocks * k_panel_block_bytes;
constexpr int k_rest_floats = k_chunk_tokens * k_group_rows;  // sums of a group between its parts
constexpr size_t k_rest_bytes = k_most_groups * k_rest_floats * sizeof(float);

// A piece of work: some groups of one product for some tokens.
struct Piece {
  const Product* product = nullptr;
  int group = 0, n_groups = 0;
  int token = 0, n_tokens = 0;
  int worker = 0;
  const uint8_t* weights = nullptr;  // packed, of the first group
};
using Run = void (*)(const Step&, const Piece&);

inline Strip strip_of(const Step& step, const Piece& piece, int group) {
  const Product& product = *piece.product;
  const Weight& w = product.weight;
  const int row = group * k_group_rows;
  const int64_t stride = product.out_stride ? product.out_stride : w.rows;
  Strip strip;
  strip.weights = piece.weights + (group - piece.group) * group_bytes(w.dtype, step.cols);
  strip.blocks = step.cols / k_block_cols;
  strip.from = nullptr;
  strip.bias = product.bias ? product.bias + row : nullptr;
  strip.lanes = w.rows - row < k_group_rows ? w.rows - row : k_group_rows;
  strip.out = product.out + piece.token * stride + row;
  strip.out_stride = stride;
  return strip;
}

// Where the sums of a piece's group rest between parts.
inline float* rest_of(const Step& step, const Piece& piece, int group) {
  uint8_t* room = step.panels + piece.worker * step.panel_bytes + k_panel_bytes;
  return reinterpret_cast<float*>(room) + group * k_rest_floats;
}

// Weights that will be unpacked next: some bytes of each of the groups.
struct Ahead {
  const uint8_t* weights = nullptr;
  size_t bytes = 0, group_bytes = 0;
};

// All tiles of the piece's tokens, with G groups of weights from S; x starts at block `block`.
// Meanwhile asks for what lies ahead.
template <class S, int G>
void run_tiles(const Step& step, const Piece& piece, Strip* strips, int block,
               const Ahead& ahead = {}) {
  const int n_blocks = step.cols / k_block_cols;
  size_t asked = 0;
  for (int t = 0; t < piece.n_tokens;) {
    const int width = tile_width(piece.n_tokens - t);
    for (; asked * piece.n_tokens < ahead.bytes * (t + width); asked += 64)
      for (int g = 0; g < G; g++) V::prefetch_far(ahead.weights + g * ahead.group_bytes + asked);
    const InputBlock* x = step.blocks + int64_t(piece.token + t) * n_blocks + block * width;
    with_width(width, [&]<int Width>() {
      constexpr int T = S::k_is_packed ? Width : std::min(Width, V::k_panel_tile);
      for (int i = 0; i < Width; i += T) {
        tile<S, G, T>(strips, x + i, Width);
        for (int g = 0; g < G; g++) strips[g].advance(T);
      }
    });
    t += width;
  }
}

template <class S>
void run_direct(const Step& step, const Piece& piece) {
  for (int g = 0; g < piece.n_groups; g++) {
    Strip strip = strip_of(step, piece, piece.group + g);
    run_tiles<S, 1>(step, piece, &strip, 0);
  }
}

// Unpacks `count` blocks of a group from block b on into a panel.
template <class S>
Strip panel_strip(const Step& step, const Piece& piece, int group, int b, int count,
                  uint8_t* panel) {
  Strip strip = strip_of(step, piece, piece.group + group);
  unpack_panel<S>(strip.weights, b, count, panel);
  strip.weights = panel;
  strip.set_part(b == 0, b + count == strip.blocks, rest_of(step, piece, group));
  strip.blocks = count;
  return strip;
}

// Unpacks some blocks of k_panel_groups groups, uses them for all tokens, then of the next groups:
// the panels stay in the first cache, this part of the input in the second.
template <class S>
void run_panels(const Step& step, const Piece& piece) {
  constexpr int G = V::k_panel_groups, k_blocks = k_panel_blocks / G;
  uint8_t* panels = step.panels + piece.worker * step.panel_bytes;
  const int n_blocks = step.cols / k_block_cols;
  for (int b = 0; b < n_blocks; b += k_blocks) {
    const int count = std::min(k_blocks, n_blocks - b);
    for (int g = 0; g < piece.n_groups; g += G) {
      const int n_groups = std::min(G, piece.n_groups - g);
      Strip strips[G];
      for (int i = 0; i < n_groups; i++)
        strips[i] = panel_strip<S>(step, piece, g + i, b, count,
                                   panels + i * k_blocks * k_panel_block_bytes);
      // Of the next groups; after the last the next blocks of the first, or the next piece.
      const bool is_next_part = g + n_groups == piece.n_groups && b + count < n_blocks;
      const int next = is_next_part ? 0 : g + n_groups;
      const int block = next * n_blocks + b + (is_next_part ? count : 0);
      const Ahead ahead{piece.weights + size_t(block) * S::k_share, size_t(count) * S::k_share,
                        size_t(n_blocks) * S::k_share};
      if (n_groups == G)
        run_tiles<PanelOf<S>, G>(step, piece, strips, b, ahead);
      else
        for (int i = 0; i < n_groups; i++)
          run_tiles<PanelOf<S>, 1>(step, piece, strips + i, b, ahead);
    }
  }
}

// The same by matrices. They are so fast that the input has to come from the first cache as well:
// fewer blocks, of several groups, used for one tile of tokens after the other.
constexpr int k_matrix_groups = 2;
constexpr int k_matrix_blocks = k_panel_blocks / k_matrix_groups;

template <class S>
void run_matrices(const Step& step, const Piece& piece) {
  using P = PanelOf<S>;
  constexpr int T = V::k_matrix_tokens;
  uint8_t* panels = step.panels + piece.worker * step.panel_bytes;
  const int n_blocks = step.cols / k_block_cols;
  V::template begin_matrices<P::k_sub / 4>();
  for (int g = 0; g < piece.n_groups; g += k_matrix_groups) {
    const int n_groups = std::min(k_matrix_groups, piece.n_groups - g);
    for (int b = 0; b < n_blocks; b += k_matrix_blocks) {
      const int count = std::min(k_matrix_blocks, n_blocks - b);
      Strip strips[k_matrix_groups];
      for (int i = 0; i < n_groups; i++)
        strips[i] = panel_strip<S>(step, piece, g + i, b, count,
                                   panels + i * k_matrix_blocks * k_panel_block_bytes);
      for (int t = 0; t < piece.n_tokens; t += T) {
        const InputBlock* x = step.blocks + int64_t(piece.token + t) * n_blocks + b * T;
        for (int i = 0; i < n_groups; i++) {
          matrix_tile<P>(strips[i], x, std::min(T, piece.n_tokens - t));
          strips[i].advance(T);
        }
      }
    }
  }
  V::end_matrices();
}

// Wide weights: some groups at once, so that an input is loaded once for all of them; of many
// tokens by units, which stay in the first cache while the next are asked for.
template <int G, bool IsUnit>
void run_wide_tiles(const Step& step, const Piece& piece, Strip* strips, int block) {
  const int n_blocks = wide_blocks(step.cols);
  int asked = 0;
  for (int t = 0; t < piece.n_tokens;) {
    const int width = std::min(tile_width(piece.n_tokens - t), V::k_wide_tile);
    if (IsUnit)
      for (; asked * piece.n_tokens < WideUnits::k_unit_bytes * (t + width); asked += 64)
        for (int g = 0; g < G; g++)
          V::prefetch_far(strips[g].weights + WideUnits::k_unit_bytes + asked);
    const WideBlock* x = step.wides + int64_t(piece.token + t) * n_blocks + block * width;
    with_width(width,
               [&]<int T>() { tile_wide<G, std::min(T, V::k_wide_tile), IsUnit>(strips, x); });
    for (int g = 0; g < G; g++) strips[g].advance(width);
    t += width;
  }
}

template <int G, bool IsUnit>
void run_wide_groups(const Step& step, const Piece& piece, int first) {
  const int n_blocks = wide_blocks(step.cols);
  const int part = IsUnit ? WideUnits::k_blocks : n_blocks;
  for (int b = 0; b < n_blocks; b += part) {
    Strip strips[G];
    for (int g = 0; g < G; g++) {
      strips[g] = strip_of(step, piece, piece.group + first + g);
      strips[g].weights = WideUnits::unit_at(strips[g].weights, b);
      strips[g].set_part(b == 0, b + part >= n_blocks, rest_of(step, piece, first + g));
      strips[g].blocks = std::min(part, n_blocks - b);
    }
    run_wide_tiles<G, IsUnit>(step, piece, strips, b);
  }
}

template <bool IsUnit>
void run_wide(const Step& step, const Piece& piece) {
  int g = 0;
  constexpr int G = V::k_wide_groups;
  for (; g + G <= piece.n_groups; g += G) run_wide_groups<G, IsUnit>(step, piece, g);
  if constexpr (G > 1)
    for (; g < piece.n_groups; g++) run_wide_groups<1, IsUnit>(step, piece, g);
}

void run_floats(const Step& step, const Piece& piece) {
  Strip strips[k_most_groups];
  for (int g = 0; g < piece.n_groups; g++) strips[g] = strip_of(step, piece, piece.group + g);
  for (int t = 0; t < piece.n_tokens;) {
    const int width = tile_width(piece.n_tokens - t);
    const float* x = step.floats + int64_t(piece.token + t) * step.cols;
    int g = 0;
    if (width == 1) {
      for (; g + 4 <= piece.n_groups; g += 4) tile_floats<4, 1>(strips + g, x, step.cols);
      for (; g + 2 <= piece.n_groups; g += 2) tile_floats<2, 1>(strips + g, x, step.cols);
    }
    for (; g < piece.n_groups; g++)
      with_width(width, [&]<int T>() { tile_floats<1, T>(strips + g, x, step.cols); });
    for (int g = 0; g < piece.n_groups; g++) strips[g].advance(width);
    t += width;
  }
}

// A type without a packed form: each row decoded, then multiplied in one order of additions.
float dot_floats(const float* a, const float* b, int n) {
  F32 sums[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  constexpr int k_run = 4 * V::k_width;
  int i = 0;
  for (; i + k_run <= n; i += k_run)
    for (int j = 0; j < 4; j++)
      sums[j] = V::fma(V::load(a + i + j * V::k_width), V::load(b + i + j * V::k_width), sums[j]);
  for (; i < n; i += V::k_width) {
    const int left = std::min(n - i, V::k_width);
    sums[0] = V::fma(V::load_first(a + i, left), V::load_first(b + i, left), sums[0]);
  }
  return V::sum(V::add(V::add(sums[0], sums[1]), V::add(sums[2], sums[3])));
}

void run_plain(const Step& step, const Piece& piece) {
  const Product& product = *piece.product;
  const Weight& w = product.weight;
  const int64_t stride = product.out_stride ? product.out_stride : w.rows;
  float* values = reinterpret_cast<float*>(step.panels + piece.worker * step.panel_bytes);
  const int first = piece.group * k_group_rows;
  const int last = std::min(w.rows, first + piece.n_groups * k_group_rows);
  for (int row = first; row < last; row++) {
    decode_row(w.dtype, static_cast<const uint8_t*>(w.data) + row * w.row_bytes, w.cols, values);
    for (int t = piece.token; t < piece.token + piece.n_tokens; t++) {
      const float sum = dot_floats(values, step.args->x + t * step.args->x_stride, w.cols);
      product.out[t * stride + row] = product.bias ? sum + product.bias[row] : sum;
    }
  }
}

constexpr bool is_wide(DType dtype) { return form_of(dtype).scales == Scales::wide; }

bool has_packed_form(const Weight& w) { return packed_bytes(w.dtype, 1, w.cols) > 0; }

// The groups of a piece in packed form. Those of a weight that is not packed yet are packed into
// the worker's room: the same bits as later, for about the time of a second product.
const uint8_t* packed_groups(const Step& step, const Piece& piece) {
  const Weight& w = piece.product->weight;
  const auto* data = static_cast<const uint8_t*>(w.data);
  if (w.layout == Weight::Layout::packed) return data + piece.group * group_bytes(w.dtype, w.cols);
  if (!has_packed_form(w)) return nullptr;
  uint8_t* room = step.panels + piece.worker * step.panel_bytes + k_panel_bytes + k_rest_bytes;
  const int first = piece.group * k_group_rows;
  Weight rest = w;
  rest.data = data + first * w.row_bytes;
  rest.rows = w.rows - first;
  pack_by_vectors(rest, room, 0, std::min(rest.rows, piece.n_groups * k_group_rows));
  return room;
}

// Codes put together from planes of high and low bits, or a scale from two numbers: each tile of
// tokens that reads the packed form does it again.
constexpr bool is_costly(const Form& form) {
  return form.scales == Scales::super || form.bits == 5;
}

Run run_of(const Weight& w, int n_tokens) {
  if (!has_packed_form(w)) return run_plain;
  if (w.dtype == DType::f32) return run_floats;
  if (is_wide(w.dtype)) return n_tokens > V::k_direct_tokens ? run_wide<true> : run_wide<false>;
  return with_source(w.dtype, [&]<class S>() -> Run {
    constexpr int k_most = is_costly(S::k_form) ? V::k_direct_costly : V::k_direct_tokens;
    if (n_tokens <= k_most) return run_direct<S>;
    if constexpr (V::k_matrix_tokens > 0)
      return run_matrices<S>;
    else
      return run_panels<S>;
  });
}

// Reserves what the step needs, in one block of scratch. False when memory was refused.
bool reserve(Queue& queue, Step& step) {
  const MatmulArgs& args = *step.args;
  bool is_quantized = false, has_wide = false, is_float = false;
  size_t room_bytes = 0;  // of a worker, beside its panel and sums
  for (int i = 0; i < args.count; i++) {
    const Weight& w = args.products[i].weight;
    if (!has_packed_form(w))
      room_bytes = std::max(room_bytes, size_t(step.cols) * sizeof(float));
    else if (w.dtype == DType::f32)
      is_float = true;
    else if (is_wide(w.dtype))
      has_wide = true;
    else
      is_quantized = true;
    if (w.layout == Weight::Layout::plain)
      room_bytes = std::max(room_bytes, k_most_groups * group_bytes(w.dtype, step.cols));
  }
  const size_t n = static_cast<size_t>(args.n);
  const size_t n_blocks = static_cast<size_t>(filled_up(args.n)) * (step.cols / k_block_cols);
  const size_t blocks = is_quantized ? n_blocks * sizeof(InputBlock) : 0;
  const auto lines = [](size_t bytes) { return (bytes + 63) / 64 * 64; };
  const size_t wides = has_wide ? lines(n * wide_blocks(step.cols) * sizeof(WideBlock)) : 0;
  const size_t floats = is_float ? lines(n * step.cols * sizeof(float)) : 0;
  step.panel_bytes = k_panel_bytes + k_rest_bytes + lines(room_bytes);
  const size_t panels = static_cast<size_t>(queue.pool().size()) * step.panel_bytes;
  uint8_t* p = static_cast<uint8_t*>(queue.scratch(blocks + wides + floats + panels));
  if (!p) return false;
  if (is_quantized) step.blocks = reinterpret_cast<InputBlock*>(p);
  if (has_wide) step.wides = reinterpret_cast<WideBlock*>(p + blocks);
  if (is_float) step.floats = args.n == 1 ? args.x : reinterpret_cast<float*>(p + blocks + wides);
  step.panels = p + blocks + wides + floats;
  return true;
}

// The unit of preparing: tokens of whole tiles of either kind.
constexpr int k_prepare_tokens = std::max(V::k_tile, V::k_matrix_tokens);

void prepare(Queue& queue, const Step& step) {
  const int n = step.args->n;
  const bool has_floats = step.floats && step.floats != step.args->x;
  if (!step.blocks && !step.wides && !has_floats) return;
  const int n_units = (n + k_prepare_tokens - 1) / k_prepare_tokens;
  auto body = [&](int begin, int end, int) {
    const int stop = std::min(end * k_prepare_tokens, n);
    for (int t = begin * k_prepare_tokens; t < stop;) {
      const int width = tile_width(stop - t);
      if (step.blocks && !is_by_matrices(n)) prepare_blocks(step, t, width, width);
      if (has_floats) prepare_floats(step, t, width);
      if (step.wides) prepare_wides(step, t, width);
      t += width;
    }
    if (step.blocks && is_by_matrices(n))
      for (int t = begin * k_prepare_tokens; t < stop; t += V::k_matrix_tokens)
        prepare_blocks(step, t, V::k_matrix_tokens, std::min(V::k_matrix_tokens, stop - t));
  };
  if (n_units == 1)
    body(0, 1, 0);
  else
    queue.pool().parallel_for(n_units, 1, body);
}

inline int groups_of(const Weight& w) { return (w.rows + k_group_rows - 1) / k_group_rows; }

void matmul(Queue& queue, const MatmulArgs& args) {
  if (args.n <= 0 || args.count <= 0) return;
  Step step{&args, args.products[0].weight.cols};
  if (!reserve(queue, step)) return;
  prepare(queue, step);
  Run runs[3];
  int ends[3];  // of the groups of each product
  for (int i = 0; i < args.count; i++) {
    runs[i] = run_of(args.products[i].weight, args.n);
    ends[i] = (i ? ends[i - 1] : 0) + groups_of(args.products[i].weight);
  }
  const int groups = ends[args.count - 1];  // of one chunk of tokens
  const int total = groups * ((args.n + k_chunk_tokens - 1) / k_chunk_tokens);
  // Few at a time where there are few, so that the workers end together; but as many as are
  // multiplied at once where each worker has some of these.
  const int share = total / queue.pool().size();
  const bool are_wide = is_wide(args.products[0].weight.dtype);
  const int together = are_wide ? V::k_wide_groups : V::k_panel_groups;
  const bool in_whole = args.n > V::k_direct_tokens && share >= 4 * together;
  const int most = k_most_groups / together * together;
  const int grain = std::clamp(share / 16, in_whole ? together : 1, most);
  queue.pool().parallel_for(total, grain, [&](int begin, int end, int worker) {
    for (int i = begin; i < end;) {
      const int at = i % groups;
      int p = 0;
      while (at >= ends[p]) p++;
      Piece piece;
      piece.product = &args.products[p];
      piece.worker = worker;
      piece.group = at - (p ? ends[p - 1] : 0);
      piece.n_groups = std::min(end - i, ends[p] - at);
      piece.token = i / groups * k_chunk_tokens;
      piece.n_tokens = std::min(k_chunk_tokens, args.n - piece.token);
      piece.weights = packed_groups(step, piece);
      runs[p](step, piece);
      i += piece.n_groups;
    }
  });
}
