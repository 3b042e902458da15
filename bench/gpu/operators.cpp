// Times of single operators at the sizes of real models, beside what they must move and compute:
// GB/s of weights, caches and activations, TFLOP/s where there is arithmetic to speak of. Weights
// and caches rotate through copies that together exceed the cache of any device. A product's time
// has that of the kernel that rounds its input.

#include <algorithm>
#include <functional>
#include <numeric>
#include <string>

#include "job.h"

namespace millrace {
namespace {

constexpr size_t k_more_than_a_cache = size_t{256} << 20;

// Times a row if it is wanted, and tells its bytes and operations over it.
class Timer {
 public:
  explicit Timer(Job& job) : job_(job) {}

  void time(const std::string& name, double bytes, double operations, int period,
            const std::function<void()>& body) {
    if (!job_.wants(name)) return;
    job_.report.begin(name);
    const double seconds = device_seconds_of(job_.device, period, body);
    std::vector<Report::Value> values = {{"us", 1e6 * seconds}, {"GB_s", bytes / seconds / 1e9}};
    if (operations > 0) values.push_back({"TFLOP_s", operations / seconds / 1e12});
    values.push_back({"MB", bytes / 1e6});
    if (operations > 0) values.push_back({"GFLOP", operations / 1e9});
    job_.report.add(name, values);
  }
  Job& job() { return job_; }

 private:
  Job& job_;
};

size_t values_of(int rows, int width) {
  return static_cast<size_t>(rows) * static_cast<size_t>(width);
}

// What memory gives: a copy, and the sum of two large arrays.
void time_memory(Timer& timer) {
  Device& device = timer.job().device;
  const std::string copy = "memory, copy", add = "memory, add";
  if (!timer.job().wants(copy) && !timer.job().wants(add)) return;
  Arena arena(device);
  const size_t n = timer.job().small ? 1 << 16 : size_t{1} << 28;
  const std::vector<float> some = normals(1, std::min<size_t>(n, 1 << 20));
  float* x = arena.floats(n);
  float* y = arena.floats(n);
  for (size_t at = 0; at < n; at += some.size())
    must(device.copy(x + at, some.data(), some.size() * sizeof(float)));
  const double bytes = 2.0 * sizeof(float) * static_cast<double>(n);
  const double seconds = seconds_of(device, [&] { must(device.copy(y, x, n * sizeof(float))); });
  timer.job().report.add(copy, {{"us", 1e6 * seconds}, {"GB_s", bytes / seconds / 1e9}});
  timer.time(add, 1.5 * bytes, 0, 1, [&] {
    device.ops().add(device.queue(), {x, y, static_cast<int64_t>(n)});
  });
}

// Products of one input, as a step has them.
struct Products {
  const char* what;
  std::vector<int> rows;
  int cols;
};

void time_products(Timer& timer, const Products& products, DType dtype,
                   const std::vector<int>& batches) {
  Device& device = timer.job().device;
  const int all_rows = std::accumulate(products.rows.begin(), products.rows.end(), 0);
  const auto name_of = [&](int n) {
    return std::string("matmul ") + products.what + " " + std::to_string(all_rows) + "x" +
           std::to_string(products.cols) + " " + info_of(dtype).name + " n=" + std::to_string(n);
  };
  if (std::none_of(batches.begin(), batches.end(),
                   [&](int n) { return timer.job().wants(name_of(n)); }))
    return;
  Arena arena(device);
  const Ops& ops = device.ops();
  std::vector<std::vector<uint8_t>> forms;
  size_t packed_bytes = 0;
  for (const int rows : products.rows) {
    std::vector<uint8_t> memory;
    forms.push_back(packed(ops, random_weight(dtype, rows, products.cols, memory)));
    packed_bytes += forms.back().size();
  }
  const size_t copies =
      timer.job().small ? 1 : std::max<size_t>(1, k_more_than_a_cache / packed_bytes);
  const int most = batches.back();
  const float* x = arena.floats(normals(1, values_of(most, products.cols)));
  MatmulArgs args{x, products.cols, 0, static_cast<int>(products.rows.size()), {}};
  std::vector<MatmulArgs> turns;
  for (size_t i = 0; i < copies; ++i) {
    for (size_t j = 0; j < forms.size(); ++j)
      args.products[j] = {
          {dtype, Weight::Layout::packed, products.rows[j], products.cols, 0,
           arena.bytes(forms[j].size(), forms[j].data())},
          nullptr,
          i == 0 ? arena.floats(values_of(most, products.rows[j])) : turns[0].products[j].out,
          0};
    turns.push_back(args);
  }
  size_t next = 0;
  for (const int n : batches) {
    const double bytes =
        static_cast<double>(packed_bytes) +
        sizeof(float) * static_cast<double>(values_of(n, all_rows + products.cols));
    timer.time(name_of(n), bytes, 2.0 * n * static_cast<double>(values_of(all_rows, products.cols)),
               static_cast<int>(copies), [&] {
                 MatmulArgs& turn = turns[next++ % copies];
                 turn.n = n;
                 ops.matmul(device.queue(), turn);
               });
  }
}

// Llama-3.1-8B's heads over a cache in f16: `batch` sequences, each with `rows` new positions after
// `context`. Layers take turns, as weights do.
void time_attention(Timer& timer, int batch, int context, int rows) {
  constexpr int heads = 32, kv_heads = 8, head_dim = 128, q_dim = heads * head_dim;
  constexpr int kv_dim = kv_heads * head_dim;
  const std::string name = "attention " + std::to_string(batch) + " @ " + std::to_string(context) +
                           " + " + std::to_string(rows);
  if (!timer.job().wants(name)) return;
  Device& device = timer.job().device;
  Arena arena(device);
  const int total = context + rows;
  const double read = 2.0 * 2 * kv_dim * static_cast<double>(batch) * total;
  const int layers =
      timer.job().small ? 2 : 1 + static_cast<int>(static_cast<double>(k_more_than_a_cache) / read);
  const Cache cache = make_cache(arena, {layers, kv_heads, head_dim, 32, DType::f16}, batch, total);
  const float* k = arena.floats(normals(1, values_of(total, kv_dim)));
  const float* v = arena.floats(normals(2, values_of(total, kv_dim)));
  const float* q = arena.floats(normals(3, values_of(batch * rows, q_dim)));
  float* out = arena.floats(values_of(batch * rows, q_dim));
  std::vector<Span> spans;
  const Ops& ops = device.ops();
  for (int i = 0; i < batch; ++i) {
    const int32_t* pages = cache.pages.data() + i * cache.pages_each;
    const Span all{0, total, 0, pages};
    for (int layer = 0; layer < layers; ++layer)
      ops.store(device.queue(), {cache.view, layer, k, v, kv_dim, kv_dim, &all, 1});
    must(device.finish());
    spans.push_back({i * rows, rows, context, pages});
  }
  const double seen = static_cast<double>(rows) * (context + (rows + 1) / 2.0);
  int layer = 0;
  timer.time(name, read, 4.0 * batch * q_dim * seen, layers, [&] {
    ops.attention(device.queue(), {cache.view, layer++ % layers, q, q_dim, out, q_dim, heads,
                                   0.088f, 0, 0, spans.data(), batch});
  });
}

// Rows that a step has just written lie in the device's cache, here as there.
void time_rows(Timer& timer, int n) {
  constexpr int dim = 4096, hidden = 14336;
  Device& device = timer.job().device;
  Arena arena(device);
  const Ops& ops = device.ops();
  float* x = arena.floats(normals(1, values_of(n, hidden)));
  float* y = arena.floats(normals(2, values_of(n, hidden)));
  const float* weight = arena.floats(normals(3, dim));
  float* out = arena.floats(values_of(n, hidden));
  const auto row = [&](const char* what, double floats, const std::function<void()>& body) {
    timer.time(std::string(what) + " n=" + std::to_string(n), sizeof(float) * floats, 0, 1, body);
  };
  row("norm with add", 4.0 * n * dim, [&] {
    ops.norm(device.queue(), {x, y, weight, out, n, dim, 1e-5f});
  });
  row("gate", 3.0 * n * hidden, [&] {
    ops.gate(device.queue(), {x, y, out, static_cast<int64_t>(n) * hidden, Act::silu});
  });
}

void time_top_k(Timer& timer, int n, int width, int k) {
  Device& device = timer.job().device;
  Arena arena(device);
  const float* x = arena.floats(normals(1, values_of(n, width)));
  auto* out = static_cast<TopValue*>(arena.bytes(sizeof(TopValue) * values_of(n, k)));
  timer.time("top-k " + std::to_string(k) + " n=" + std::to_string(n),
             sizeof(float) * static_cast<double>(values_of(n, width)), 0, 1, [&] {
               device.ops().top_k(device.queue(), {x, n, width, k, out});
             });
}

// Draws from whole rows, and from the best that have a share of 0.95.
void time_sample(Timer& timer, int n, int width, float top_p) {
  Device& device = timer.job().device;
  Arena arena(device);
  float* x = arena.floats(normals(1, values_of(n, width), 3));
  auto* out =
      static_cast<SampleResult*>(arena.bytes(sizeof(SampleResult) * static_cast<size_t>(n)));
  std::vector<SampleQuery> rows(static_cast<size_t>(n));
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].uniform = static_cast<double>(i) / n;
    rows[i].top_p = top_p;
  }
  timer.time((top_p < 1 ? "sample top-p n=" : "sample n=") + std::to_string(n),
             sizeof(float) * static_cast<double>(values_of(n, width)), 0, 1, [&] {
               device.ops().sample(device.queue(), {x, rows.data(), nullptr, 0, n, width, out});
             });
}

}  // namespace

void time_operators(Job& job) {
  Timer timer(job);
  time_memory(timer);
  if (job.small) {
    time_products(timer, {"small", {64, 32}, 256}, DType::q4_k, {1, 20});
    time_attention(timer, 2, 140, 1);
    time_rows(timer, 2);
    time_top_k(timer, 2, 3000, 5);
    time_sample(timer, 2, 3000, 0.95f);
    return;
  }
  for (const int batch : {1, 8, 64, 256}) time_attention(timer, batch, 1024, 1);
  time_attention(timer, 1, 8192, 1);
  time_attention(timer, 1, 0, 1024);
  time_attention(timer, 1, 8192, 512);
  time_attention(timer, 8, 0, 1024);
  // Of Llama-3.1-8B.
  const std::vector<int> few = {1, 8, 64}, all = {1, 8, 64, 256, 1024, 4096};
  const Products down{"down", {4096}, 14336};
  for (const Products& products :
       {Products{"o", {4096}, 4096}, Products{"qkv", {4096, 1024, 1024}, 4096},
        Products{"gate and up", {14336, 14336}, 4096}, down, Products{"head", {128256}, 4096}}) {
    time_products(timer, products, DType::bf16, products.rows[0] > 100'000 ? few : all);
    time_products(timer, products, DType::q4_k, few);
  }
  time_products(timer, down, DType::q8_0, few);
  time_products(timer, down, DType::q6_k, few);
  // Of Qwen3-0.6B.
  for (const Products& products :
       {Products{"qkv", {2048, 1024, 1024}, 1024}, Products{"o", {1024}, 2048},
        Products{"gate and up", {3072, 3072}, 1024}, Products{"down", {1024}, 3072}})
    time_products(timer, products, DType::bf16, few);
  for (const int n : {1, 64, 1024}) time_rows(timer, n);
  for (const int k : {1, 40})
    for (const int n : {1, 64, 256}) time_top_k(timer, n, 128256, k);
  for (const float top_p : {1.0f, 0.95f})
    for (const int n : {1, 64, 256}) time_sample(timer, n, 128256, top_p);
}

}  // namespace millrace
