// Times of single operators at the sizes of real models, beside what they must move and compute:
// GB/s of weights, caches and activations, TFLOP/s where there is arithmetic to speak of.
// Weights rotate through copies that together exceed the cache of any device.

#include <algorithm>

#include "job.h"

namespace millrace {
namespace {

constexpr size_t k_more_than_a_cache = size_t{256} << 20;

void time_copy(Job& job) {
  Arena arena(job.device);
  const size_t n = job.small ? 1 << 16 : size_t{1} << 28;
  float* x = arena.floats(n);
  float* y = arena.floats(n);
  const double seconds = seconds_of(job.device, [&] {
    job.device.ops().add(job.device.queue(), {x, y, static_cast<int64_t>(n)});
  });
  const double bytes = 3.0 * sizeof(float) * static_cast<double>(n);
  job.report.add("add, what memory gives",
                 {{"us", 1e6 * seconds}, {"GB_s", bytes / seconds / 1e9}});
}

struct Shape {
  const char* what;
  int rows, cols;
};

void time_matmul(Job& job, const Shape& shape, DType dtype, const std::vector<int>& batches) {
  Arena arena(job.device);
  const Ops& ops = job.device.ops();
  std::vector<uint8_t> memory;
  const Weight plain = random_weight(dtype, shape.rows, shape.cols, memory);
  const std::vector<uint8_t> form = packed(ops, plain);
  const size_t packed_bytes = form.size();
  const size_t copies = job.small ? 1 : std::max<size_t>(1, k_more_than_a_cache / packed_bytes);
  std::vector<Weight> weights;
  for (size_t i = 0; i < copies; ++i)
    weights.push_back({dtype, Weight::Layout::packed, shape.rows, shape.cols, 0,
                       arena.bytes(packed_bytes, form.data())});
  const int most = batches.back();
  const auto values = [](int n, int dim) {
    return static_cast<size_t>(n) * static_cast<size_t>(dim);
  };
  const float* x = arena.floats(normals(1, values(most, shape.cols)));
  float* out = arena.floats(values(most, shape.rows));
  size_t next = 0;
  for (const int n : batches) {
    const double seconds = seconds_of(job.device, [&] {
      const Weight& weight = weights[next++ % copies];
      ops.matmul(job.device.queue(), {x, shape.cols, n, 1, {{weight, nullptr, out, 0}}});
    });
    const double bytes = static_cast<double>(packed_bytes) +
                         sizeof(float) * static_cast<double>(values(n, shape.rows + shape.cols));
    const double operations = 2.0 * n * static_cast<double>(values(shape.rows, shape.cols));
    job.report.add(std::string("matmul ") + shape.what + " " + std::to_string(shape.rows) + "x" +
                       std::to_string(shape.cols) + " " + info_of(dtype).name +
                       " n=" + std::to_string(n),
                   {{"us", 1e6 * seconds},
                    {"GB_s", bytes / seconds / 1e9},
                    {"TFLOP_s", operations / seconds / 1e12}});
  }
}

// Llama-3.1-8B's heads over a cache in f16: `batch` sequences, each with `rows` new positions after
// `context`.
void time_attention(Job& job, int batch, int context, int rows) {
  constexpr int heads = 32, kv_heads = 8, head_dim = 128, q_dim = heads * head_dim;
  constexpr int kv_dim = kv_heads * head_dim;
  Arena arena(job.device);
  const int total = context + rows;
  const Cache cache = make_cache(arena, {1, kv_heads, head_dim, 32, DType::f16}, batch, total);
  const auto values = [](int n, int dim) {
    return static_cast<size_t>(n) * static_cast<size_t>(dim);
  };
  const float* k = arena.floats(normals(1, values(total, kv_dim)));
  const float* v = arena.floats(normals(2, values(total, kv_dim)));
  const float* q = arena.floats(normals(3, values(batch * rows, q_dim)));
  float* out = arena.floats(values(batch * rows, q_dim));
  std::vector<Span> spans;
  const Ops& ops = job.device.ops();
  for (int i = 0; i < batch; ++i) {
    const int32_t* pages = cache.pages.data() + i * cache.pages_each;
    const Span all{0, total, 0, pages};
    ops.store(job.device.queue(), {cache.view, 0, k, v, kv_dim, kv_dim, &all, 1});
    must(job.device.finish());
    spans.push_back({i * rows, rows, context, pages});
  }
  const double seconds = seconds_of(job.device, [&] {
    ops.attention(job.device.queue(),
                  {cache.view, 0, q, q_dim, out, q_dim, heads, 0.088f, 0, 0, spans.data(), batch});
  });
  const double read = 2.0 * 2 * kv_dim * static_cast<double>(batch) * total;
  const double seen = static_cast<double>(rows) * (context + (rows + 1) / 2.0);
  const double operations = 4.0 * batch * q_dim * seen;
  job.report.add("attention " + std::to_string(batch) + " @ " + std::to_string(context) + " + " +
                     std::to_string(rows),
                 {{"us", 1e6 * seconds},
                  {"GB_s", read / seconds / 1e9},
                  {"TFLOP_s", operations / seconds / 1e12}});
}

void time_rows(Job& job, int n) {
  constexpr int dim = 4096, hidden = 14336;
  Arena arena(job.device);
  const Ops& ops = job.device.ops();
  Queue& queue = job.device.queue();
  const auto values = [](int rows, int width) {
    return static_cast<size_t>(rows) * static_cast<size_t>(width);
  };
  float* x = arena.floats(normals(1, values(n, hidden)));
  float* y = arena.floats(normals(2, values(n, hidden)));
  const float* weight = arena.floats(normals(3, dim));
  float* out = arena.floats(values(n, hidden));
  const auto row = [&](const char* what, double floats, const std::function<void()>& body) {
    const double seconds = seconds_of(job.device, body);
    job.report.add(std::string(what) + " n=" + std::to_string(n),
                   {{"us", 1e6 * seconds}, {"GB_s", sizeof(float) * floats / seconds / 1e9}});
  };
  row("norm with add", 4.0 * n * dim, [&] { ops.norm(queue, {x, y, weight, out, n, dim, 1e-5f}); });
  row("gate", 3.0 * n * hidden, [&] {
    ops.gate(queue, {x, y, out, static_cast<int64_t>(n) * hidden, Act::silu});
  });
}

void time_top_k(Job& job, int n, int width, int k) {
  Arena arena(job.device);
  const size_t count = static_cast<size_t>(n) * static_cast<size_t>(width);
  const float* x = arena.floats(normals(1, count));
  auto* out = static_cast<TopValue*>(
      arena.bytes(sizeof(TopValue) * static_cast<size_t>(n) * static_cast<size_t>(k)));
  const Ops& ops = job.device.ops();
  const double seconds = seconds_of(job.device, [&] {
    ops.top_k(job.device.queue(), {x, n, width, k, out});
  });
  job.report.add("top-k " + std::to_string(k) + " n=" + std::to_string(n),
                 {{"us", 1e6 * seconds},
                  {"GB_s", static_cast<double>(sizeof(float) * count) / seconds / 1e9}});
}

// Draws from whole rows, and from the best that have a share of 0.95.
void time_sample(Job& job, int n, int width, float top_p) {
  Arena arena(job.device);
  const size_t count = static_cast<size_t>(n) * static_cast<size_t>(width);
  float* x = arena.floats(normals(1, count, 3));
  auto* out =
      static_cast<SampleResult*>(arena.bytes(sizeof(SampleResult) * static_cast<size_t>(n)));
  std::vector<SampleQuery> rows(static_cast<size_t>(n));
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].uniform = static_cast<double>(i) / n;
    rows[i].top_p = top_p;
  }
  const Ops& ops = job.device.ops();
  const double seconds = seconds_of(job.device, [&] {
    ops.sample(job.device.queue(), {x, rows.data(), nullptr, 0, n, width, out});
  });
  job.report.add((top_p < 1 ? "sample top-p n=" : "sample n=") + std::to_string(n),
                 {{"us", 1e6 * seconds},
                  {"GB_s", static_cast<double>(sizeof(float) * count) / seconds / 1e9}});
}

}  // namespace

void time_operators(Job& job) {
  time_copy(job);
  if (job.small) {
    time_matmul(job, {"small", 64, 256}, DType::q4_k, {1, 20});
    time_attention(job, 2, 140, 1);
    time_rows(job, 2);
    time_top_k(job, 2, 3000, 5);
    time_sample(job, 2, 3000, 0.95f);
    return;
  }
  // Of Llama-3.1-8B.
  const std::vector<int> few = {1, 8, 64}, all = {1, 8, 64, 256, 1024, 4096};
  for (const Shape& shape : {Shape{"qkv", 6144, 4096},
                             {"o", 4096, 4096},
                             {"gate", 14336, 4096},
                             {"down", 4096, 14336},
                             {"head", 128256, 4096}}) {
    time_matmul(job, shape, DType::bf16, shape.rows > 100'000 ? few : all);
    time_matmul(job, shape, DType::q4_k, few);
  }
  time_matmul(job, {"down", 4096, 14336}, DType::q8_0, few);
  time_matmul(job, {"down", 4096, 14336}, DType::q6_k, few);
  for (const int batch : {1, 8, 64, 256}) time_attention(job, batch, 1024, 1);
  time_attention(job, 1, 8192, 1);
  time_attention(job, 1, 0, 1024);
  time_attention(job, 8, 0, 1024);
  for (const int n : {1, 64, 1024}) time_rows(job, n);
  for (const int k : {1, 40})
    for (const int n : {1, 64, 256}) time_top_k(job, n, 128256, k);
  for (const float top_p : {1.0f, 0.95f})
    for (const int n : {1, 64, 256}) time_sample(job, n, 128256, top_p);
}

}  // namespace millrace
