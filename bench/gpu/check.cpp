// The operators of the device against the reference table on the CPU, on random inputs, at sizes
// that a reference in plain C++ can do in a moment: every kernel, and both ways that attention
// takes. The error is that of the whole output: |out - reference| / |reference|. Then the law that
// a row has the same bits alone and in a batch, which only the device can break.

#include <cmath>
#include <cstring>
#include <random>

#include "job.h"

namespace millrace {
namespace {

// What a check does on either device; returns what it computed.
using Body = std::function<std::vector<float>(Arena&)>;

double error_of(const std::vector<float>& out, const std::vector<float>& reference) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    const double error = static_cast<double>(out[i]) - static_cast<double>(reference[i]);
    difference += error * error;
    size += static_cast<double>(reference[i]) * static_cast<double>(reference[i]);
  }
  return std::sqrt(difference / size);
}

class Checker {
 public:
  explicit Checker(Job& job) : job_(job) {
    auto reference = open_cpu({0, "reference"});
    must(reference.status());
    reference_ = *reference;
  }

  void check(const std::string& name, double tolerance, const Body& body) {
    if (!job_.wants(name)) return;
    job_.report.begin("check " + name);
    const auto run = [&](Device& device) {
      Arena arena(device);
      return body(arena);
    };
    const double error = error_of(run(job_.device), run(*reference_));
    if (error <= tolerance)  // NaN is not
      job_.report.add("check " + name, {{"error", error}});
    else
      job_.report.fail("check " + name,
                       "error " + std::to_string(error) + " above " + std::to_string(tolerance));
  }

 private:
  Job& job_;
  std::shared_ptr<Device> reference_;
};

// Rows [first, first + n) of x times a weight of each size, one launch where they share a type.
std::vector<float> multiply(Arena& arena, const std::vector<DType>& types,
                            const std::vector<int>& rows, int cols, int first, int n) {
  Device& device = arena.device();
  const auto values = [](int count, int width) {
    return static_cast<size_t>(count) * static_cast<size_t>(width);
  };
  const std::vector<float> all = normals(1, values(first + n, cols));
  MatmulArgs args{
      arena.floats({all.begin() + static_cast<int64_t>(values(first, cols)), all.end()}),
      cols,
      n,
      static_cast<int>(rows.size()),
      {}};
  for (size_t i = 0; i < rows.size(); ++i) {
    std::vector<uint8_t> memory;
    args.products[i] = {arena.weight(random_weight(types[i], rows[i], cols, memory)),
                        arena.floats(normals(3, static_cast<size_t>(rows[i]))),
                        arena.floats(values(n, rows[i])), 0};
  }
  device.ops().matmul(device.queue(), args);
  std::vector<float> out;
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::vector<float> part = arena.read(args.products[i].out, values(n, rows[i]));
    out.insert(out.end(), part.begin(), part.end());
  }
  return out;
}

// Rows [first, first + n) through two products of bf16, their gate and a third, as in forward().
std::vector<float> feed_forward(Arena& arena, int cols, int hidden, int first, int n) {
  Device& device = arena.device();
  const auto values = [](int count, int width) {
    return static_cast<size_t>(count) * static_cast<size_t>(width);
  };
  const std::vector<float> all = normals(21, values(first + n, cols));
  const float* x =
      arena.floats({all.begin() + static_cast<int64_t>(values(first, cols)), all.end()});
  std::vector<uint8_t> memory;
  const auto weight = [&](int rows, int width, uint64_t seed) {
    return arena.weight(random_weight(DType::bf16, rows, width, memory, seed));
  };
  const float* bias = arena.floats(normals(22, static_cast<size_t>(hidden)));
  float* gate = arena.floats(values(n, hidden));
  float* up = arena.floats(values(n, hidden));
  float* out = arena.floats(values(n, cols));
  Queue& queue = device.queue();
  device.ops().matmul(queue, {x,
                              cols,
                              n,
                              2,
                              {{weight(hidden, cols, 1), bias, gate, 0},
                               {weight(hidden, cols, 2), nullptr, up, 0}}});
  device.ops().gate(
      queue, {gate, up, gate, static_cast<int64_t>(values(n, hidden)), Act::silu, DType::bf16});
  device.ops().matmul(queue, {gate, hidden, n, 1, {{weight(cols, hidden, 3), nullptr, out, 0}}});
  return arena.read(out, values(n, cols));
}

void check_matmul(Checker& checker, bool small) {
  for (const DTypeInfo& info : k_dtypes) {
    const DType type = info.dtype;
    if (type == DType::i8 || type == DType::i32) continue;
    std::vector<int> batches =
        small ? std::vector<int>{3, 70} : std::vector<int>{1, 9, 40, 70, 300};
    if (small && (type == DType::f16 || type == DType::bf16)) batches.push_back(130);
    for (const int n : batches) {
      const std::string name = "matmul " + std::string(info.name) + " n=" + std::to_string(n);
      // Activations are rounded to 8 bits of mantissa for bf16, to 11 for the rest.
      const double tolerance = type == DType::bf16 ? 5e-3 : 1e-3;
      const int rows = small ? 70 : 1300, cols = small ? 512 : 4096;
      checker.check(name, tolerance,
                    [&](Arena& arena) { return multiply(arena, {type}, {rows}, cols, 0, n); });
    }
  }
  for (const int n : {9, small ? 130 : 260})
    checker.check("feed forward n=" + std::to_string(n), 1e-2, [&](Arena& arena) {
      return feed_forward(arena, small ? 128 : 1024, small ? 192 : 1408, 0, n);
    });
  for (const int n : {2, 130})
    checker.check("matmul of three n=" + std::to_string(n), 5e-3, [&](Arena& arena) {
      const std::vector<DType> types = {DType::bf16, DType::bf16, DType::q6_k};
      return multiply(arena, types, {200, 20, 40}, 512, 0, n);
    });
}

struct Attended {
  DType cache;
  int heads, kv_heads, head_dim;
  int context, rows;  // positions before the step, and in it
  int window = 0;
  float soft_cap = 0;
  bool mixes = false;  // goes on into a product of bf16
  int copies = 1;      // of the sequence in the step, where it has one row
};

// Rows from the `first` of the step on, whose queries are as if all were there; of copies the last.
std::vector<float> attend(Arena& arena, const Attended& of, int first = 0) {
  Device& device = arena.device();
  const KvShape shape{1, of.kv_heads, of.head_dim, 32, of.cache};
  const int total = of.context + of.rows, kv_dim = of.kv_heads * of.head_dim;
  const int q_dim = of.heads * of.head_dim;
  const Cache cache = make_cache(arena, shape, 1, total);
  const auto values = [](int rows, int dim) {
    return static_cast<size_t>(rows) * static_cast<size_t>(dim);
  };
  const float* k = arena.floats(normals(11, values(total, kv_dim)));
  const float* v = arena.floats(normals(12, values(total, kv_dim)));
  std::vector<float> queries = normals(13, values(of.rows, q_dim));
  const std::vector<float> last(queries.end() - q_dim, queries.end());
  for (int i = 1; i < of.copies; ++i) queries.insert(queries.end(), last.begin(), last.end());
  const float* q = arena.floats(queries) + values(first, q_dim);
  const int rows = of.rows - first, all_rows = rows + of.copies - 1;
  float* out = arena.floats(values(all_rows, q_dim));
  const Span all{0, total, 0, cache.pages.data()};
  device.ops().store(device.queue(), {cache.view, 0, k, v, kv_dim, kv_dim, &all, 1});
  std::vector<Span> step{{0, rows, of.context + first, cache.pages.data()}};
  for (int i = 1; i < of.copies; ++i)
    step.push_back({i, 1, of.context + first, cache.pages.data()});
  const float scale = 1.0f / std::sqrt(static_cast<float>(of.head_dim));
  device.ops().attention(
      device.queue(),
      {cache.view, 0, q, q_dim, out, q_dim, of.heads, scale, of.window, of.soft_cap, step.data(),
       static_cast<int>(step.size()), of.mixes ? DType::bf16 : DType::f32, all_rows});
  if (of.mixes) {
    std::vector<uint8_t> memory;
    const Weight weight = arena.weight(random_weight(DType::bf16, q_dim, q_dim, memory));
    float* mixed = arena.floats(values(all_rows, q_dim));
    device.ops().matmul(device.queue(), {out, q_dim, all_rows, 1, {{weight, nullptr, mixed, 0}}});
    out = mixed;
  }
  return arena.read(out + values(of.copies - 1, q_dim), values(rows, q_dim));
}

void check_heads(Checker& checker, bool small) {
  const int context = small ? 150 : 2000;
  const struct {
    const char* name;
    DType dtype;
    double tolerance;
  } caches[] = {{"f32", DType::f32, 1e-5}, {"f16", DType::f16, 1e-5}, {"q8_0", DType::q8_0, 1e-5}};
  for (const auto& [name, dtype, tolerance] : caches)
    for (const int head_dim : {64, 128, 256})
      for (const int rows : {1, small ? 9 : 100})
        checker.check("attention " + std::string(name) + " dim " + std::to_string(head_dim) +
                          " rows " + std::to_string(rows),
                      tolerance, [&](Arena& arena) {
                        return attend(arena, {dtype, 8, 2, head_dim, context, rows});
                      });
}

// So many blocks that each walks all ranges, and what masks and caps do.
void check_attention_more(Checker& checker, bool small) {
  const int rows = small ? 256 : 1200;
  for (const DType type : {DType::f32, DType::f16})
    checker.check(std::string("attention ") + info_of(type).name + " in many blocks", 1e-5,
                  [&](Arena& arena) {
                    return attend(arena, {type, 16, 16, 16, 20, rows});
                  });
  for (const int many : {1, small ? 40 : 300})
    checker.check("attention into bf16 rows=" + std::to_string(many), 1e-2, [&](Arena& arena) {
      Attended of{DType::f16, 4, 2, 32, 150, many};
      of.mixes = true;
      return attend(arena, of);
    });
  checker.check("attention under a window", 1e-5, [](Arena& arena) {
    return attend(arena, {DType::f16, 4, 2, 32, 150, 20, 37});
  });
  checker.check("attention under a soft cap", 1e-5, [](Arena& arena) {
    return attend(arena, {DType::f16, 4, 2, 32, 150, 20, 0, 2.0f});
  });
}

// Rows of `dim`, changed in place or read once.
void check_elementwise(Checker& checker) {
  constexpr int n = 5, dim = 1536, heads = 12;
  constexpr auto k_size = static_cast<size_t>(n) * dim;
  checker.check("norm with add", 1e-6, [](Arena& arena) {
    float* x = arena.floats(normals(1, k_size));
    float* out = arena.floats(k_size);
    Device& device = arena.device();
    device.ops().norm(device.queue(), {x, arena.floats(normals(2, k_size)),
                                       arena.floats(normals(3, dim)), out, n, dim, 1e-5f});
    return arena.read(out, k_size);
  });
  for (const bool adjacent : {false, true})
    checker.check(adjacent ? "rope, adjacent" : "rope, split", 1e-6, [&](Arena& arena) {
      float* x = arena.floats(normals(1, k_size));
      const std::vector<int32_t> positions = {0, 7, 100, 4095, 131071};
      std::vector<float> frequencies(dim / heads / 2);
      for (size_t i = 0; i < frequencies.size(); ++i)
        frequencies[i] = std::pow(5e5f, -static_cast<float>(i) / 64.0f);
      Device& device = arena.device();
      device.ops().rope(device.queue(), {x, dim, n, heads, dim / heads, dim / heads, adjacent,
                                         positions.data(), arena.floats(frequencies), 1.0f});
      return arena.read(x, k_size);
    });
  for (const Act act : {Act::silu, Act::gelu_tanh})
    checker.check(act == Act::silu ? "gate, silu" : "gate, gelu", 1e-6, [&](Arena& arena) {
      float* x = arena.floats(normals(1, k_size));
      Device& device = arena.device();
      device.ops().gate(device.queue(), {x, arena.floats(normals(2, k_size)), x, k_size, act});
      return arena.read(x, k_size);
    });
  checker.check("add", 1e-6, [](Arena& arena) {
    float* x = arena.floats(normals(1, k_size));
    Device& device = arena.device();
    device.ops().add(device.queue(), {x, arena.floats(normals(2, k_size)), k_size});
    return arena.read(x, k_size);
  });
  checker.check("gather", 0, [](Arena& arena) {
    float* out = arena.floats(k_size);
    const std::vector<int32_t> rows = {4, 4, 0, 2, 1};
    Device& device = arena.device();
    device.ops().gather(device.queue(),
                        {arena.floats(normals(1, k_size)), rows.data(), n, dim, out});
    return arena.read(out, k_size);
  });
  checker.check("top-k", 0, [](Arena& arena) {
    constexpr int k_rows = 3, k_width = 50'000, k_best = 40;
    constexpr size_t k_found = size_t{k_rows} * k_best;
    std::vector<float> values = normals(1, size_t{k_rows} * k_width);
    // The last row has its best where few threads look.
    for (size_t i = 2 * k_width; i < values.size(); ++i)
      if (i % 1024 < 60) values[i] = 9.0f + static_cast<float>(i % 997);
    auto* out = static_cast<TopValue*>(arena.bytes(sizeof(TopValue) * k_found));
    Device& device = arena.device();
    device.ops().top_k(device.queue(), {arena.floats(values), k_rows, k_width, k_best, out});
    std::vector<float> told;
    for (const TopValue& one : arena.read(out, k_found)) {
      told.push_back(static_cast<float>(one.index));
      told.push_back(one.value);
    }
    return told;
  });
  checker.check("sample", 0, [](Arena& arena) {
    constexpr int k_rows = 6, k_width = 50'000;
    const std::vector<LogitChange> changes = {{7, 2, 0.5f}, {49'999, -1, 9.0f}, {123, 0, 0.0f}};
    std::vector<SampleQuery> rows(k_rows);
    for (int i = 0; i < k_rows; ++i) {
      SampleQuery& row = rows[static_cast<size_t>(i)];
      row.uniform = 0.16 * i;
      row.top_k = i == 1 ? 40 : i == 2 ? 20'000 : 0;
      row.top_p = i >= 2 && i < 4 ? 0.9f : 1.0f;
      row.wants_sum = 1;
    }
    rows[4].n_changes = static_cast<int>(changes.size());
    rows[4].repetition_penalty = 1.2f;
    rows[5].target = 4321;
    auto* out = static_cast<SampleResult*>(arena.bytes(sizeof(SampleResult) * k_rows));
    Device& device = arena.device();
    device.ops().sample(device.queue(),
                        {arena.floats(normals(1, size_t{k_rows} * k_width, 3)), rows.data(),
                         changes.data(), static_cast<int>(changes.size()), k_rows, k_width, out});
    std::vector<float> told;
    for (const SampleResult& one : arena.read(out, k_rows)) {
      told.push_back(static_cast<float>(one.token));
      told.push_back(one.value);
      for (int shift = 0; shift < 64; shift += 16)
        told.push_back(static_cast<float>(one.weight_sum >> shift & 0xffff));
    }
    return told;
  });
  checker.check("embed q4_K", 1e-6, [](Arena& arena) {
    std::vector<uint8_t> memory;
    Weight table = random_weight(DType::q4_k, 300, dim, memory);
    table.data = arena.bytes(memory.size(), memory.data());
    float* out = arena.floats(k_size);
    const std::vector<int32_t> tokens = {299, 0, 7, 7, 123};
    Device& device = arena.device();
    device.ops().embed(device.queue(), {table, tokens.data(), n, 1.5f, out});
    return arena.read(out, k_size);
  });
}

// Products of the size that models have, at places drawn at random, against float64 of the inputs
// as they are: what depends on a size that no small check has.
void check_large(Job& job, DType type, int rows, int cols, int n) {
  const std::string name = "matmul " + std::string(info_of(type).name) + " " +
                           std::to_string(rows) + "x" + std::to_string(cols) +
                           " n=" + std::to_string(n);
  if (!job.wants(name)) return;
  job.report.begin("check " + name);
  Arena arena(job.device);
  const auto width = static_cast<size_t>(cols);
  const std::vector<float> x = normals(1, static_cast<size_t>(n) * width);
  std::vector<uint8_t> memory;
  const Weight plain = random_weight(type, rows, cols, memory);
  float* product = arena.floats(static_cast<size_t>(n) * static_cast<size_t>(rows));
  const Weight weight = arena.weight(plain);
  job.device.ops().matmul(job.device.queue(),
                          {arena.floats(x), cols, n, 1, {{weight, nullptr, product, 0}}});
  const std::vector<float> all =
      arena.read(product, static_cast<size_t>(n) * static_cast<size_t>(rows));
  std::mt19937 draw(1);
  std::vector<float> found, exact, row(width);
  for (int i = 0; i < 300; ++i) {
    const size_t token = draw() % static_cast<unsigned>(n);
    const size_t at = draw() % static_cast<unsigned>(rows);
    decode_row(type, memory.data() + at * static_cast<size_t>(plain.row_bytes), cols, row.data());
    double sum = 0;
    for (size_t j = 0; j < width; ++j)
      sum += static_cast<double>(row[j]) * static_cast<double>(x[token * width + j]);
    found.push_back(all[token * static_cast<size_t>(rows) + at]);
    exact.push_back(static_cast<float>(sum));
  }
  const double error = error_of(found, exact);
  if (error <= 5e-3)
    job.report.add("check " + name, {{"error", error}});
  else
    job.report.fail("check " + name, "error " + std::to_string(error));
}

}  // namespace

void check_rows(Job& job) {
  Checker checker(job);
  check_elementwise(checker);
}

void check_products(Job& job) {
  Checker checker(job);
  check_matmul(checker, job.small);
  if (job.small) return check_large(job, DType::bf16, 200, 512, 70);
  for (const DType type : {DType::bf16, DType::q4_k}) {
    check_large(job, type, 4096, 14336, 1);
    check_large(job, type, 14336, 4096, 64);
    check_large(job, type, 1024, 4096, 4096);
  }
  check_large(job, DType::q6_k, 128256, 4096, 3);
  check_large(job, DType::bf16, 128256, 4096, 256);
}

void check_attention(Job& job) {
  Checker checker(job);
  check_heads(checker, job.small);
  check_attention_more(checker, job.small);
}

// Whether the last row of a batch has the bits that it has alone.
void check_bits(Job& job) {
  const auto check = [&](const std::string& name, const Body& batch, const Body& alone) {
    if (!job.wants(name)) return;
    job.report.begin("bits of " + name);
    Arena arena(job.device);
    const std::vector<float> last = alone(arena), all = batch(arena);
    if (std::memcmp(all.data() + (all.size() - last.size()), last.data(),
                    last.size() * sizeof(float)) == 0)
      job.report.add("bits of " + name, {});
    else
      job.report.fail("bits of " + name, "they depend on the batch");
  };
  const int cols = job.small ? 512 : 4096;
  for (const DType type :
       {DType::f32, DType::f16, DType::bf16, DType::q4_0, DType::q4_k, DType::q6_k, DType::q8_0})
    for (const int n : {9, 40, 130})
      check(
          "matmul " + std::string(info_of(type).name) + " n=" + std::to_string(n),
          [&](Arena& arena) { return multiply(arena, {type}, {70}, cols, 0, n); },
          [&](Arena& arena) { return multiply(arena, {type}, {70}, cols, n - 1, 1); });
  // So many that blocks are the largest there are.
  const int rows = job.small ? 200 : 1024, most = job.small ? 300 : 4096;
  for (const DType type : {DType::f16, DType::bf16})
    check(
        "matmul " + std::string(info_of(type).name) + " n=" + std::to_string(most),
        [&](Arena& arena) { return multiply(arena, {type}, {rows}, cols, 0, most); },
        [&](Arena& arena) { return multiply(arena, {type}, {rows}, cols, most - 1, 1); });
  const int hidden = job.small ? 192 : 5632, dim = job.small ? 128 : 2048;
  const int tokens = job.small ? 140 : 3000;
  check(
      "feed forward", [&](Arena& arena) { return feed_forward(arena, dim, hidden, 0, tokens); },
      [&](Arena& arena) { return feed_forward(arena, dim, hidden, tokens - 1, 1); });
  // Among few rows ranges go to different blocks, among many one block walks them all; the last row
  // is in a tile of many lines but among the fewest.
  const int context = job.small ? 150 : 2000, heads = job.small ? 8 : 32;
  for (const DType type : {DType::f32, DType::f16, DType::q8_0})
    for (const int rows : {2, job.small ? 9 : 108, job.small ? 43 : 1008})
      check(
          "attention " + std::string(info_of(type).name) + " rows " + std::to_string(rows),
          [&](Arena& arena) {
            return attend(arena, {type, heads, heads / 4, 128, context - rows + 1, rows});
          },
          [&](Arena& arena) {
            return attend(arena, {type, heads, heads / 4, 128, context - rows + 1, rows}, rows - 1);
          });
  // So many that decode that blocks walk.
  for (const DType type : {DType::f32, DType::f16})
    check(
        "attention " + std::string(info_of(type).name) + " of many",
        [&](Arena& arena) {
          Attended of{type, heads, heads / 4, 128, context, 1};
          of.copies = job.small ? 7 : 100;
          return attend(arena, of);
        },
        [&](Arena& arena) {
          return attend(arena, {type, heads, heads / 4, 128, context, 1});
        });
}

}  // namespace millrace
