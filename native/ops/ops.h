#pragma once
// The contract of the operators: what every table (reference, AVX2, AVX-512, NEON, CUDA) computes.
// An operator reads plain argument structs, works on the device of its queue and returns nothing:
// the first error is kept by the queue and reported by Device::finish(). Tokens, positions, rows
// and spans with their pages are host memory, the same until the step ends (Device::end_step() or
// finish()), and so is what pack reads and writes; all else is device memory, of which nobody frees
// what an operator was given or reads what it wrote before finish(), collect() or a copy.
// Activations are row-major f32 matrices with one row per token of the step; `n` rows. Inputs and
// outputs do not alias unless said. Law: every output row depends only on its own input row (and,
// in attention, its own sequence), and is computed in one order of additions whatever else is in
// the batch, whatever the number of threads: the same request gives the same bits alone, batched,
// chunked, or after a prefix hit. Threads: called by the engine thread only; an operator may use
// the queue's workers.

#include <cstddef>
#include <cstdint>

#include "ops/sampling.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace millrace {

class Queue;

// A weight matrix of `rows` outputs by `cols` inputs: out = x * transpose(w).
// layout plain: as in the model file. layout packed: as Ops::pack of the same table wrote it.
struct Weight {
  enum class Layout : uint8_t { plain, packed };
  DType dtype = DType::f32;
  Layout layout = Layout::plain;
  int rows = 0;
  int cols = 0;
  int64_t row_bytes = 0;       // plain only: distance between rows
  const void* data = nullptr;  // device memory
};

enum class Act : uint8_t { none, silu, gelu_tanh };

// out[n, dim] = table[token i, :] * scale. Token i is tokens[i] or, where that is negative, what
// row ~tokens[i] of `drawn` says, so that the host need not know it; 0 where that row has none.
struct EmbedArgs {
  Weight table;           // plain layout, any dtype
  const int32_t* tokens;  // [n]
  int n;
  float scale;
  float* out;                           // [n, table.cols]
  const SampleResult* drawn = nullptr;  // [n_drawn], device memory
  int n_drawn = 0;

  constexpr bool can_tell(int32_t token) const {
    return token >= 0 ? token < table.rows : ~token < n_drawn;
  }
  constexpr int32_t token(int64_t i) const {
    if (tokens[i] >= 0) return tokens[i];
    const int32_t found = drawn[~tokens[i]].token;
    return found >= 0 ? found : 0;
  }
};

// If add is set: x += add (in place). Then out = x / sqrt(mean(x^2) + eps) * weight, per row.
// The sum of squares is taken in one fixed order. out may alias x when add is null.
// Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
struct NormArgs {
  float* x;             // [n, dim], changed only through add
  const float* add;     // [n, dim] or null
  const float* weight;  // [dim]
  float* out;           // [n, dim]
  int n;
  int dim;
  float eps;
};

// Up to three products that share one input (q, k, v; or gate and up), so that the input is
// prepared once: out_j[n, rows_j] = x[n, cols] * transpose(w_j) + bias_j.
struct Product {
  Weight weight;
  const float* bias = nullptr;  // [rows] or null
  float* out = nullptr;         // [n, rows], row stride out_stride
  int64_t out_stride = 0;       // in elements; 0 means rows
};
struct MatmulArgs {
  const float* x;    // [n, cols]
  int64_t x_stride;  // in elements
  int n;
  int count;  // products used, 1..3
  Product products[3];
};

// Rotary embedding in place on [n, heads, head_dim]: pair (a, b) turned by position * inv_freq[i],
// cos and sin multiplied by magnitude. adjacent: pair i is (2i, 2i+1); split: (i, i + rotary / 2).
// Su et al., "RoFormer", 2021; the split form is GPT-NeoX's.
struct RopeArgs {
  float* x;
  int64_t x_stride;  // in elements between tokens
  int n;
  int heads;
  int head_dim;
  int rotary;  // dimensions turned, even, <= head_dim
  bool adjacent;
  const int32_t* positions;  // [n]
  const float* inv_freq;     // [rotary / 2], scaling already applied
  float magnitude;
};

// The KV cache of one model on one device: pages of page_tokens positions for all layers. The
// layout inside a page belongs to the table; only store and attention read it.
struct KvShape {
  int layers;
  int kv_heads;
  int head_dim;
  int page_tokens;  // a power of two, at least 16
  DType dtype;      // f32, f16 or q8_0 (q8_0: head_dim a multiple of 32)
};
struct KvCacheView {
  KvShape shape;
  void* data;  // n_pages * Ops::kv_page_bytes(shape)
  size_t page_bytes;
};

// One sequence's share of a step: rows first_row .. first_row + n_rows of the batch hold positions
// first_position .. first_position + n_rows. Page i holds positions i*page_tokens onwards.
struct Span {
  int first_row;
  int n_rows;
  int first_position;
  const int32_t* pages;  // enough for first_position + n_rows positions
};

// Writes k and v [n, kv_heads, head_dim] of every span into its pages for one layer.
struct StoreArgs {
  KvCacheView cache;
  int layer;
  const float* k;
  const float* v;
  int64_t k_stride, v_stride;  // in elements between tokens
  const Span* spans;
  int n_spans;
};

// Causal attention of q [n, heads, head_dim] over the cached positions of its own sequence, query
// position p seeing positions max(0, p - window + 1) .. p. heads is a multiple of kv_heads; query
// head h reads kv head h / (heads / kv_heads). out[n, heads, head_dim]. Softmax in f32, online over
// ranges of positions whose borders do not depend on the batch or the thread count.
struct AttentionArgs {
  KvCacheView cache;
  int layer;
  const float* q;
  int64_t q_stride;
  float* out;
  int64_t out_stride;
  int heads;
  float scale;
  int window;      // 0: none
  float soft_cap;  // 0: none; cap * tanh(score / cap)
  const Span* spans;
  int n_spans;
  // Other than f32: nobody but the product after it, of n rows of out by weights of this type,
  // reads out, which may be left as that product wants it.
  DType passed_to = DType::f32;
  int n = 0;
};

// out = act(gate) * up, elementwise on [n, dim]; out may alias gate.
struct GateArgs {
  const float* gate;
  const float* up;
  float* out;
  int64_t count;  // n * dim
  Act act;
  DType passed_to = DType::f32;  // as in AttentionArgs; then nobody reads gate and up, either
};

// x += y.
struct AddArgs {
  float* x;
  const float* y;
  int64_t count;
};

// out[i, :] = x[rows[i], :].
struct GatherArgs {
  const float* x;
  const int32_t* rows;  // [n]
  int n;
  int dim;
  float* out;
};

// out[i, j] = the j-th best of values[i, :], exactly: the higher first, of equals the lower index.
// NaN has no rank; where a row has fewer, index is -1.
struct TopValue {
  int32_t index;
  float value;
};
constexpr int k_most_top = 128;
struct TopKArgs {
  const float* values;  // [n, width]
  int n;
  int width;
  int k;          // 1..k_most_top
  TopValue* out;  // [n, k]
};

struct Ops {
  // "reference", "avx2", "avx-vnni", "avx512", "amx", "neon", "neon-i8mm" or "cuda".
  const char* name;

  // Bytes of the packed form of a weight; 0 when this table has none and reads the plain form. The
  // tables of the CPU read both, to the same bits.
  size_t (*packed_bytes)(DType dtype, int rows, int cols);
  // By any thread. Writes the packed form of rows [first_row, first_row + n_rows) of a plain
  // weight, so that callers may split the work; first_row is a multiple of pack_rows.
  void (*pack)(const Weight& plain, void* packed, int first_row, int n_rows);
  int pack_rows;
  size_t (*kv_page_bytes)(const KvShape& shape);

  void (*embed)(Queue&, const EmbedArgs&);
  void (*norm)(Queue&, const NormArgs&);
  void (*matmul)(Queue&, const MatmulArgs&);
  void (*rope)(Queue&, const RopeArgs&);
  void (*store)(Queue&, const StoreArgs&);
  void (*attention)(Queue&, const AttentionArgs&);
  void (*gate)(Queue&, const GateArgs&);
  void (*add)(Queue&, const AddArgs&);
  void (*gather)(Queue&, const GatherArgs&);
  // Of logits, where they lie:
  void (*top_k)(Queue&, const TopKArgs&);
  void (*sample)(Queue&, const SampleArgs&);
};

}  // namespace millrace
