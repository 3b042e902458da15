// Micro-bench of the product's store and attention, checked against the reference table, timed by
// the CPU time of one thread. The cache is larger than the processor's caches: a step of decode
// reads each layer once, as a model does.
//   bench-attention [table] [heads] [kv heads] [head dim] [depth] [page tokens]
// Columns: decode GB/s of keys and values and its share of what this thread was measured to read;
// prefill GFLOP/s (causal products only) and microseconds per token and layer.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <numeric>
#include <string>
#include <vector>

#include "base/thread-pool.h"
#include "ops/device.h"

using namespace millrace;

namespace {

double cpu_seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

template <class F>
double best_seconds(int repetitions, F&& body) {
  double best = 1e9;
  for (int i = 0; i < repetitions; ++i) {
    const double start = cpu_seconds();
    body();
    best = std::min(best, cpu_seconds() - start);
  }
  return best;
}

double read_rate(const void* data, size_t size_bytes) {
  const auto* words = static_cast<const uint64_t*>(data);
  volatile uint64_t sink = 0;
  const double seconds = best_seconds(5, [&] {
    uint64_t a = 0, b = 0, c = 0, d = 0;
    for (size_t i = 0; i + 32 <= size_bytes / 8; i += 32) {
      a ^= words[i];
      b ^= words[i + 8];
      c ^= words[i + 16];
      d ^= words[i + 24];
    }
    sink = sink + (a ^ b ^ c ^ d);
  });
  return static_cast<double>(size_bytes) / seconds / 1e9;
}

struct Random {
  uint32_t state = 1;
  float next() {
    float sum = 0;
    for (int i = 0; i < 4; i++) {
      state = state * 1664525u + 1013904223u;
      sum += static_cast<float>(state >> 8) * 0x1p-24f - 0.5f;
    }
    return sum * 1.7f;
  }
  std::vector<float> many(size_t n) {
    std::vector<float> values(n);
    for (float& value : values) value = next();
    return values;
  }
};

struct Case {
  int heads, kv_heads, head_dim, depth, page_tokens;
  DType dtype;
  size_t q_dim() const { return static_cast<size_t>(heads) * static_cast<size_t>(head_dim); }
  size_t kv_dim() const { return static_cast<size_t>(kv_heads) * static_cast<size_t>(head_dim); }
};

// One sequence of `depth` positions in every layer of one device's cache.
struct Filled {
  std::shared_ptr<Device> device;
  KvCacheView cache;
  Buffer memory;
  std::vector<int32_t> pages;
  std::vector<float> q, k, v, out;

  Filled(const Case& c, int layers, const char* table) {
    device = *open_cpu({1, table});
    const KvShape shape{layers, c.kv_heads, c.head_dim, c.page_tokens, c.dtype};
    const size_t page_bytes = device->ops().kv_page_bytes(shape);
    pages.resize(static_cast<size_t>((c.depth + c.page_tokens - 1) / c.page_tokens));
    std::iota(pages.begin(), pages.end(), 0);
    memory = *device->alloc(page_bytes * pages.size(), "the cache");
    cache = {shape, memory.data(), page_bytes};
    Random random;
    const auto depth = static_cast<size_t>(c.depth);
    q = random.many(depth * c.q_dim());
    k = random.many(depth * c.kv_dim());
    v = random.many(depth * c.kv_dim());
    out.resize(q.size());
    for (int layer = 0; layer < layers; ++layer) store(c, layer);
  }

  void store(const Case& c, int layer) {
    const Span span{0, c.depth, 0, pages.data()};
    const auto stride = static_cast<int64_t>(c.kv_dim());
    device->ops().store(device->queue(),
                        {cache, layer, k.data(), v.data(), stride, stride, &span, 1});
  }

  // Attention of the rows from `first` on.
  void attend(const Case& c, int layer, int first, int n) {
    const Span span{0, n, first, pages.data()};
    const auto stride = static_cast<int64_t>(c.q_dim());
    const size_t offset = static_cast<size_t>(first) * c.q_dim();
    device->ops().attention(
        device->queue(),
        {cache, layer, q.data() + offset, stride, out.data() + offset, stride, c.heads,
         1.0f / std::sqrt(static_cast<float>(c.head_dim)), 0, 0.0f, &span, 1});
  }
};

double worst_difference(const Case& c, Filled& fast) {
  Filled slow(c, 1, "reference");
  const int first = c.depth - 3;
  slow.attend(c, 0, first, 3);
  fast.attend(c, 0, first, 3);
  double most = 0;
  for (size_t i = static_cast<size_t>(first) * c.q_dim(); i < fast.out.size(); ++i)
    most = std::max(most, std::fabs(static_cast<double>(fast.out[i]) - slow.out[i]));
  return most;
}

void run(const Case& c, const char* table) {
  constexpr int k_layers = 16;
  Filled filled(c, k_layers, table);
  const double difference = worst_difference(c, filled);
  const double bytes = static_cast<double>(filled.memory.size_bytes());
  const double peak = read_rate(filled.memory.data(), filled.memory.size_bytes());
  const double decode = best_seconds(c.depth < 1000 ? 100 : 10, [&] {
    for (int layer = 0; layer < k_layers; ++layer) filled.attend(c, layer, c.depth - 1, 1);
  });
  const int rows = std::min(c.depth, 512);
  const double prefill = best_seconds(10, [&] { filled.attend(c, 0, 0, rows); });
  const double store = best_seconds(3, [&] { filled.store(c, 0); }) / c.depth;
  const double flops = 2.0 * rows * (rows + 1) * static_cast<double>(c.q_dim());
  const double rate = bytes / decode / 1e9;
  std::printf(
      "%-5s difference %.1e  decode %6.2f GB/s (%3.0f%% of %.2f)  %7.1f us/layer  prefill %3d: "
      "%6.1f GFLOP/s %6.2f us/token/layer  store %.2f us/token/layer\n",
      info_of(c.dtype).name, difference, rate, 100 * rate / peak, peak, decode / k_layers * 1e6,
      rows, flops / prefill / 1e9, prefill / rows * 1e6, store * 1e6);
}

}  // namespace

int main(int argc, char** argv) {
  const char* table = argc > 1 ? argv[1] : "";
  const auto number = [&](int i, int fallback) { return argc > i ? std::atoi(argv[i]) : fallback; };
  for (DType dtype : {DType::f32, DType::f16, DType::q8_0})
    run({number(2, 16), number(3, 8), number(4, 128), number(5, 2048), number(6, 16), dtype},
        table);
}
