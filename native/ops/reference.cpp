// The reference table: every operator, obvious, over plain weights. It is the specification, the
// oracle of the fast tables and the fallback of processors without one. Inputs and outputs are f32;
// long sums run in double, in one order per output row.

#include "ops/reference.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/thread-pool.h"
#include "ops/device.h"
#include "tensor/half.h"

namespace millrace {
namespace {

constexpr int k_rows_per_range = 8;

size_t packed_bytes(DType, int, int) { return 0; }
void pack(const Weight&, void*, int, int) {}

// Eight partial sums, so that the compiler may use what lanes it has; added in one order.
double dot(const float* a, const float* b, int n) {
  double part[8] = {};
  int i = 0;
  for (; i + 8 <= n; i += 8)
    for (int lane = 0; lane < 8; ++lane)
      part[lane] += static_cast<double>(a[i + lane]) * static_cast<double>(b[i + lane]);
  for (; i < n; ++i) part[0] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return ((part[0] + part[4]) + (part[1] + part[5])) + ((part[2] + part[6]) + (part[3] + part[7]));
}

const void* row_of(const Weight& weight, int64_t row) {
  return static_cast<const char*>(weight.data) + row * weight.row_bytes;
}

void embed(Queue& queue, const EmbedArgs& args) {
  const Weight& table = args.table;
  for (int i = 0; i < args.n; ++i) {
    if (!args.can_tell(args.tokens[i]))
      return queue.fail(error(ErrorCode::invalid_argument,
                              "Expected a token id below %d but found %d", table.rows,
                              args.tokens[i]));
    float* out = args.out + static_cast<int64_t>(i) * table.cols;
    decode_row(table.dtype, row_of(table, args.token(i)), table.cols, out);
    for (int j = 0; j < table.cols; ++j) out[j] *= args.scale;
  }
}

void norm(Queue& queue, const NormArgs& args) {
  const int dim = args.dim;
  queue.pool().parallel_for(args.n, k_rows_per_range, [&](int begin, int end, int) {
    for (int64_t i = begin; i < end; ++i) {
      float* x = args.x + i * dim;
      float* out = args.out + i * dim;
      for (int j = 0; args.add && j < dim; ++j) x[j] += args.add[i * dim + j];
      const double mean = dot(x, x, dim) / dim;
      const auto scale = static_cast<float>(1.0 / std::sqrt(mean + args.eps));
      for (int j = 0; j < dim; ++j) out[j] = x[j] * scale * args.weight[j];
    }
  });
}

// Outputs [first, last) of one product for every input row.
void multiply(const MatmulArgs& args, const Product& product, int first, int last, float* decoded) {
  const Weight& weight = product.weight;
  const int64_t out_stride = product.out_stride ? product.out_stride : weight.rows;
  for (int row = first; row < last; ++row) {
    decode_row(weight.dtype, row_of(weight, row), weight.cols, decoded);
    const double bias = product.bias ? product.bias[row] : 0.0;
    for (int64_t i = 0; i < args.n; ++i)
      product.out[i * out_stride + row] =
          static_cast<float>(dot(args.x + i * args.x_stride, decoded, weight.cols) + bias);
  }
}

void matmul(Queue& queue, const MatmulArgs& args) {
  const int64_t cols = args.products[0].weight.cols;
  ThreadPool& pool = queue.pool();
  auto* scratch = static_cast<float*>(
      queue.scratch(sizeof(float) * static_cast<size_t>(cols) * static_cast<size_t>(pool.size())));
  if (!scratch) return;
  for (int p = 0; p < args.count; ++p) {
    const Product& product = args.products[p];
    pool.parallel_for(product.weight.rows, k_rows_per_range, [&](int begin, int end, int worker) {
      multiply(args, product, begin, end, scratch + worker * cols);
    });
  }
}

// Turns one head of one token.
void turn(const RopeArgs& args, int32_t position, float* x) {
  const int pairs = args.rotary / 2;
  for (int i = 0; i < pairs; ++i) {
    const double angle = static_cast<double>(position) * static_cast<double>(args.inv_freq[i]);
    const auto cosine = static_cast<float>(std::cos(angle)) * args.magnitude;
    const auto sine = static_cast<float>(std::sin(angle)) * args.magnitude;
    float& first = x[args.adjacent ? 2 * i : i];
    float& second = x[args.adjacent ? 2 * i + 1 : i + pairs];
    const float a = first, b = second;
    first = a * cosine - b * sine;
    second = b * cosine + a * sine;
  }
}

void rope(Queue& queue, const RopeArgs& args) {
  queue.pool().parallel_for(args.n, k_rows_per_range, [&](int begin, int end, int) {
    for (int i = begin; i < end; ++i)
      for (int head = 0; head < args.heads; ++head)
        turn(args, args.positions[i], args.x + i * args.x_stride + head * args.head_dim);
  });
}

// A page is [layers][k, v][page_tokens][kv_heads], each a row of head_dim encoded values.
size_t kv_page_bytes(const KvShape& shape) {
  const bool known = shape.dtype == DType::f32 || shape.dtype == DType::f16 ||
                     (shape.dtype == DType::q8_0 && shape.head_dim % 32 == 0);
  if (!known) return 0;
  return static_cast<size_t>(row_bytes(shape.dtype, shape.head_dim)) * 2 *
         static_cast<size_t>(shape.layers) * static_cast<size_t>(shape.page_tokens) *
         static_cast<size_t>(shape.kv_heads);
}

enum class Side : int { k, v };

// Where a position's row of one kv head lies.
char* cached_row(const KvCacheView& cache, const Span& span, int layer, Side side, int position,
                 int head) {
  const KvShape& shape = cache.shape;
  const int64_t page = span.pages[position / shape.page_tokens];
  int64_t row = static_cast<int64_t>(layer) * 2 + static_cast<int>(side);
  row = row * shape.page_tokens + position % shape.page_tokens;
  row = row * shape.kv_heads + head;
  return static_cast<char*>(cache.data) + page * static_cast<int64_t>(cache.page_bytes) +
         row * row_bytes(shape.dtype, shape.head_dim);
}

// f16 saturates: an infinity in the cache would spoil every later token.
void encode_cached(const KvShape& shape, const float* values, char* row) {
  if (shape.dtype != DType::f16) {
    encode_row(shape.dtype, values, shape.head_dim, row);
    return;
  }
  for (int i = 0; i < shape.head_dim; ++i) {
    const uint16_t half = f32_to_f16(std::clamp(values[i], -65504.0f, 65504.0f));
    std::memcpy(row + 2 * i, &half, sizeof half);
  }
}

void store(Queue&, const StoreArgs& args) {
  const KvShape& shape = args.cache.shape;
  for (int s = 0; s < args.n_spans; ++s) {
    const Span& span = args.spans[s];
    for (int i = 0; i < span.n_rows; ++i) {
      const int64_t row = span.first_row + i;
      const int position = span.first_position + i;
      for (int head = 0; head < shape.kv_heads; ++head) {
        const int64_t offset = static_cast<int64_t>(head) * shape.head_dim;
        encode_cached(shape, args.k + row * args.k_stride + offset,
                      cached_row(args.cache, span, args.layer, Side::k, position, head));
        encode_cached(shape, args.v + row * args.v_stride + offset,
                      cached_row(args.cache, span, args.layer, Side::v, position, head));
      }
    }
  }
}

// One query head of one token. `room` holds a cached row, then the scores.
void attend(const AttentionArgs& args, const Span& span, int row, int head, float* room) {
  const KvShape& shape = args.cache.shape;
  const int dim = shape.head_dim;
  const int last = span.first_position + row;
  const int first = args.window > 0 ? std::max(0, last - args.window + 1) : 0;
  const int kv_head = head / (args.heads / shape.kv_heads);
  const int64_t batch_row = span.first_row + row;
  const float* q = args.q + batch_row * args.q_stride + static_cast<int64_t>(head) * dim;
  float* out = args.out + batch_row * args.out_stride + static_cast<int64_t>(head) * dim;
  float* cached = room;
  float* scores = room + dim - first;  // indexed by position

  float max = -INFINITY;
  for (int p = first; p <= last; ++p) {
    decode_row(shape.dtype, cached_row(args.cache, span, args.layer, Side::k, p, kv_head), dim,
               cached);
    scores[p] = static_cast<float>(dot(q, cached, dim)) * args.scale;
    if (args.soft_cap > 0) scores[p] = args.soft_cap * std::tanh(scores[p] / args.soft_cap);
    max = std::max(max, scores[p]);
  }
  double sum = 0;
  for (int p = first; p <= last; ++p) sum += scores[p] = std::exp(scores[p] - max);
  std::fill_n(out, dim, 0.0f);
  for (int p = first; p <= last; ++p) {
    decode_row(shape.dtype, cached_row(args.cache, span, args.layer, Side::v, p, kv_head), dim,
               cached);
    const auto weight = static_cast<float>(scores[p] / sum);
    for (int d = 0; d < dim; ++d) out[d] += weight * cached[d];
  }
}

void attention(Queue& queue, const AttentionArgs& args) {
  int longest = 0;
  for (int s = 0; s < args.n_spans; ++s)
    longest = std::max(longest, args.spans[s].first_position + args.spans[s].n_rows);
  ThreadPool& pool = queue.pool();
  const int64_t room = args.cache.shape.head_dim + longest;
  auto* scratch = static_cast<float*>(
      queue.scratch(sizeof(float) * static_cast<size_t>(room) * static_cast<size_t>(pool.size())));
  if (!scratch) return;
  for (int s = 0; s < args.n_spans; ++s) {
    const Span& span = args.spans[s];
    pool.parallel_for(span.n_rows * args.heads, 1, [&](int begin, int end, int worker) {
      for (int i = begin; i < end; ++i)
        attend(args, span, i / args.heads, i % args.heads, scratch + worker * room);
    });
  }
}

float activate(Act act, float x) {
  switch (act) {
    case Act::silu:
      return x / (1.0f + std::exp(-x));
    case Act::gelu_tanh: {
      const float inner = 0.7978845608028654f * (x + 0.044715f * x * x * x);  // sqrt(2 / pi)
      return 0.5f * x * (1.0f + std::tanh(inner));
    }
    case Act::none:
      break;
  }
  return x;
}

void gate(Queue&, const GateArgs& args) {
  for (int64_t i = 0; i < args.count; ++i)
    args.out[i] = activate(args.act, args.gate[i]) * args.up[i];
}

void add(Queue&, const AddArgs& args) {
  for (int64_t i = 0; i < args.count; ++i) args.x[i] += args.y[i];
}

void gather(Queue&, const GatherArgs& args) {
  const auto dim = static_cast<int64_t>(args.dim);
  for (int64_t i = 0; i < args.n; ++i)
    std::copy_n(args.x + args.rows[i] * dim, dim, args.out + i * dim);
}

}  // namespace

const Ops k_reference_ops{
    .name = "reference",
    .packed_bytes = packed_bytes,
    .pack = pack,
    .pack_rows = 1,
    .kv_page_bytes = kv_page_bytes,
    .embed = embed,
    .norm = norm,
    .matmul = matmul,
    .rope = rope,
    .store = store,
    .attention = attention,
    .gate = gate,
    .add = add,
    .gather = gather,
    .top_k = reference_top_k,
    .sample = reference_sample,
};

}  // namespace millrace
