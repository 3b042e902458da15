// Micro-bench of the product's matmul: every weight type of one table, checked against float64 on
// the decoded weights, then timed by the CPU time of one thread (so that a busy machine matters
// less) over weights that do not fit a cache.
//   bench-matmul [table] [types, by comma, or all] [rows] [cols] [MB of weights]
// Columns: bytes per weight and ratio to the file's; relative error; for n tokens GB/s of weights
// and GOP/s, each with its share of what this thread was measured to do (sequential read; f32
// multiply-adds).

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

#include "ops/cpu/table.h"
#include "ops/memory.h"

using namespace millrace;

namespace {

double cpu_seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Shortest of some repetitions.
template <class F>
double best_seconds(double budget, F&& body) {
  double best = 1e9, total = 0;
  for (int i = 0; i < 3 || (total < budget && i < 1000); i++) {
    const double start = cpu_seconds();
    body();
    const double took = cpu_seconds() - start;
    total += took;
    best = std::min(best, took);
  }
  return best;
}

double read_rate(const uint8_t* data, size_t size_bytes) {
  const uint64_t* words = reinterpret_cast<const uint64_t*>(data);
  volatile uint64_t sink = 0;
  const double seconds = best_seconds(0.1, [&] {
    uint64_t a = 0, b = 0, c = 0, d = 0;
    for (size_t i = 0; i + 32 <= size_bytes / 8; i += 32) {  // a word of every cache line
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
  float next() {  // about normal: the sum of four uniform values
    float sum = 0;
    for (int i = 0; i < 4; i++) {
      state = state * 1664525u + 1013904223u;
      sum += static_cast<float>(state >> 8) * 0x1p-24f - 0.5f;
    }
    return sum * 1.7f;
  }
};

struct Case {
  DType dtype;
  int rows, cols, copies;
  std::vector<uint8_t> plain;
  std::shared_ptr<void> packed;
  size_t packed_size = 0;  // of one copy
};

Case make_case(const Ops& ops, DType dtype, int rows, int cols, size_t size_bytes) {
  Case c{dtype, rows, cols, 1, {}, nullptr};
  const int64_t row = row_bytes(dtype, cols);
  c.plain.resize(static_cast<size_t>(row) * static_cast<size_t>(rows));
  Random random;
  std::vector<float> values(static_cast<size_t>(cols));
  for (int r = 0; r < rows; r++) {
    if (r < 64) {
      for (float& v : values) v = 0.05f * random.next();
      encode_row(dtype, values.data(), cols, c.plain.data() + r * row);
    } else {
      std::memcpy(c.plain.data() + r * row, c.plain.data() + (r % 64) * row,
                  static_cast<size_t>(row));
    }
  }
  c.packed_size = ops.packed_bytes(dtype, rows, cols);
  c.copies = std::max(1, static_cast<int>(size_bytes / c.packed_size));
  c.packed = host_memory(c.packed_size * static_cast<size_t>(c.copies));
  const Weight weight{dtype, Weight::Layout::plain, rows, cols, row, c.plain.data()};
  ops.pack(weight, c.packed.get(), 0, rows);
  uint8_t* bytes = static_cast<uint8_t*>(c.packed.get());
  for (int i = 1; i < c.copies; i++)
    std::memcpy(bytes + static_cast<size_t>(i) * c.packed_size, bytes, c.packed_size);
  return c;
}

// Largest error over the norm of the products, on the first 64 rows and the first token.
double relative_error(const Case& c, const float* x, const float* out) {
  std::vector<float> values(static_cast<size_t>(c.cols));
  double worst = 0;
  for (int r = 0; r < std::min(64, c.rows); r++) {
    decode_row(c.dtype, c.plain.data() + r * row_bytes(c.dtype, c.cols), c.cols, values.data());
    double sum = 0, squares = 0;
    for (int k = 0; k < c.cols; k++) {
      const double product = double(values[size_t(k)]) * x[k];
      sum += product;
      squares += product * product;
    }
    worst = std::max(worst, std::fabs(out[r] - sum) / std::sqrt(squares));
  }
  return worst;
}

void bench(const Ops& ops, Queue& queue, const Case& c) {
  const uint8_t* bytes = static_cast<const uint8_t*>(c.packed.get());
  const size_t file = static_cast<size_t>(row_bytes(c.dtype, c.cols)) * static_cast<size_t>(c.rows);
  const double rate = read_rate(bytes, c.packed_size * static_cast<size_t>(c.copies));
  constexpr int k_tokens[] = {1, 2, 4, 8, 16, 32, 128, 512};
  std::vector<float> x(static_cast<size_t>(512 * c.cols)), out(static_cast<size_t>(512 * c.rows));
  Random random{7};
  for (float& v : x) v = random.next();
  MatmulArgs args{};
  args.x = x.data();
  args.x_stride = c.cols;
  args.count = 1;
  args.products[0].weight = {c.dtype, Weight::Layout::packed, c.rows, c.cols, 0, bytes};
  args.products[0].out = out.data();
  args.n = 1;
  ops.matmul(queue, args);
  const double error = relative_error(c, x.data(), out.data());
  std::printf("%-7s %5.3f x %.3f  error %.1e  read %4.1f |", info_of(c.dtype).name,
              double(c.packed_size) / c.rows / c.cols, double(c.packed_size) / double(file), error,
              rate);
  size_t copy = 0;
  for (int n : k_tokens) {
    args.n = n;
    const int repeats = n <= 32 ? c.copies : 1;
    const double seconds = best_seconds(0.15,
                                        [&] {
                                          for (int i = 0; i < repeats; i++) {
                                            args.products[0].weight.data =
                                                bytes + copy * c.packed_size;
                                            copy = (copy + 1) % static_cast<size_t>(c.copies);
                                            ops.matmul(queue, args);
                                          }
                                        }) /
                           repeats;
    const double gbs = double(c.packed_size) / seconds / 1e9;
    if (n == 1)
      std::printf(" n=1 %4.1f GB/s %3.0f%%", gbs, 100 * gbs / rate);
    else
      std::printf(" | %d: %3.0f", n, 2.0 * n * c.rows * c.cols / seconds / 1e9);
    std::fflush(stdout);
  }
  std::printf(" GOP/s\n");
}

}  // namespace

int main(int argc, char** argv) {
  auto device = open_cpu({1, argc > 1 ? argv[1] : nullptr});
  if (!device.ok()) {
    std::fprintf(stderr, "%s\n", device.status().message().c_str());
    return 1;
  }
  const std::string types = std::string(",") + (argc > 2 ? argv[2] : "all") + ",";
  const int rows = argc > 3 ? std::atoi(argv[3]) : 3072;
  const int cols = argc > 4 ? std::atoi(argv[4]) : 1024;
  const size_t size_bytes = static_cast<size_t>(argc > 5 ? std::atoi(argv[5]) : 100) << 20;
  for (const DTypeInfo& info : k_dtypes) {
    if (info.dtype == DType::i8 || info.dtype == DType::i32) continue;
    if (types != ",all," && types.find(std::string(",") + info.name + ",") == std::string::npos)
      continue;
    if ((*device)->ops().packed_bytes(info.dtype, rows, cols) == 0) {
      std::printf("%-7s has no packed form of %d columns\n", info.name, cols);
      continue;
    }
    bench((*device)->ops(), (*device)->queue(),
          make_case((*device)->ops(), info.dtype, rows, cols, size_bytes));
  }
}
