// Fuzz target of the operators: the bytes choose an operator, its shape and a seed. Every table
// must agree with the reference table, touch only its own memory, and give the same bits in other
// chunks.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <numeric>
#include <vector>

#include "ops/device.h"
#include "tensor/dtype.h"

namespace {

using namespace millrace;

void require(bool condition) {
  if (!condition) std::abort();
}

// Shapes from the input's bytes, values from a generator seeded by them.
class Choices {
 public:
  Choices(const uint8_t* data, size_t size) : data_(data), size_(size) {
    for (size_t i = 0; i < size; ++i) state_ = (state_ ^ data[i]) * 16777619u;
  }
  int upto(int most) {  // 1..most
    const uint32_t low = byte(), high = byte();
    return 1 + static_cast<int>((low + 256 * high) % static_cast<uint32_t>(most));
  }
  bool flag() { return byte() & 1; }
  float value() {
    state_ = state_ * 1664525u + 1013904223u;
    return static_cast<float>(state_ >> 8) * 0x1p-22f - 2.0f;
  }
  std::vector<float> values(size_t n) {
    std::vector<float> out(n);
    for (float& v : out) v = value();
    return out;
  }

 private:
  uint8_t byte() { return at_ < size_ ? data_[at_++] : 0; }
  const uint8_t* data_;
  size_t size_, at_ = 0;
  uint32_t state_ = 2166136261u;
};

// One device per table of this processor, the reference last.
const std::vector<std::shared_ptr<Device>>& devices() {
  static const auto k_devices = [] {
    std::vector<std::shared_ptr<Device>> all;
    for (const std::string& table : cpu_tables()) all.push_back(*open_cpu({2, table.c_str()}));
    return all;
  }();
  return k_devices;
}

// Runs body on every device; each output must be near the reference's.
template <class Body>
void compare(float tolerance, Body&& body) {
  const std::vector<float> expected = body(*devices().back());
  for (const auto& device : devices()) {
    const std::vector<float> out = body(*device);
    require(device->finish().ok() && out.size() == expected.size());
    for (size_t i = 0; i < out.size(); ++i)
      require(std::fabs(out[i] - expected[i]) <= tolerance * (1 + std::fabs(expected[i])));
  }
}

void norm(Choices& c) {
  const int n = c.upto(9), dim = c.upto(300);
  const auto size = static_cast<size_t>(n) * static_cast<size_t>(dim);
  const bool added = c.flag();
  const auto x = c.values(size), add = c.values(size), weight = c.values(static_cast<size_t>(dim));
  compare(1e-4f, [&](Device& device) {
    std::vector<float> stream = x, out(size);
    device.ops().norm(device.queue(), {stream.data(), added ? add.data() : nullptr, weight.data(),
                                       out.data(), n, dim, 1e-5f});
    out.insert(out.end(), stream.begin(), stream.end());
    return out;
  });
}

void rope(Choices& c) {
  const int n = c.upto(5), heads = c.upto(4), head_dim = 2 * c.upto(70);
  const int rotary = 2 * c.upto(head_dim / 2);
  const bool adjacent = c.flag();
  std::vector<int32_t> positions(static_cast<size_t>(n));
  for (int32_t& position : positions) position = c.upto(60000);
  std::vector<float> frequencies = c.values(static_cast<size_t>(rotary / 2));
  for (float& f : frequencies) f = std::fabs(f) / 2;
  const int64_t stride = static_cast<int64_t>(heads) * head_dim;
  const auto x = c.values(static_cast<size_t>(n * stride));
  compare(1e-4f, [&](Device& device) {
    std::vector<float> out = x;
    device.ops().rope(device.queue(), {out.data(), stride, n, heads, head_dim, rotary, adjacent,
                                       positions.data(), frequencies.data(), 1.0f});
    return out;
  });
}

void gate(Choices& c) {
  const auto size = static_cast<size_t>(c.upto(30000));
  const Act act = c.flag() ? Act::silu : c.flag() ? Act::gelu_tanh : Act::none;
  const auto x = c.values(size), up = c.values(size);
  compare(1e-5f, [&](Device& device) {
    std::vector<float> out(size);
    device.ops().gate(device.queue(),
                      {x.data(), up.data(), out.data(), static_cast<int64_t>(size), act});
    device.ops().add(device.queue(), {out.data(), up.data(), static_cast<int64_t>(size)});
    return out;
  });
}

struct AttentionCase {
  KvShape shape;
  int heads, length, window;
  float soft_cap;
  std::vector<float> q, k, v;

  // The whole sequence in chunks; its outputs.
  std::vector<float> run(Device& device, int chunk) const {
    const int n_pages = (length + shape.page_tokens - 1) / shape.page_tokens;
    const size_t page_bytes = device.ops().kv_page_bytes(shape);
    std::vector<char> memory(page_bytes * static_cast<size_t>(n_pages), '\xff');
    std::vector<int32_t> pages(static_cast<size_t>(n_pages));
    std::iota(pages.rbegin(), pages.rend(), 0);
    std::vector<float> out(q.size());
    const int64_t q_dim = static_cast<int64_t>(heads) * shape.head_dim;
    const int64_t kv_dim = static_cast<int64_t>(shape.kv_heads) * shape.head_dim;
    const KvCacheView cache{shape, memory.data(), page_bytes};
    for (int first = 0; first < length; first += chunk) {
      const Span span{0, std::min(chunk, length - first), first, pages.data()};
      device.ops().store(device.queue(), {cache, shape.layers - 1, k.data() + first * kv_dim,
                                          v.data() + first * kv_dim, kv_dim, kv_dim, &span, 1});
      device.ops().attention(device.queue(), {cache, shape.layers - 1, q.data() + first * q_dim,
                                              q_dim, out.data() + first * q_dim, q_dim, heads, 0.2f,
                                              window, soft_cap, &span, 1});
    }
    return out;
  }
};

void attention(Choices& c) {
  const DType types[] = {DType::f32, DType::f16, DType::q8_0};
  AttentionCase a;
  const DType dtype = types[c.upto(3) - 1];
  const int head_dim = dtype == DType::q8_0 ? 32 * c.upto(3) : c.upto(100);
  a.shape = {c.upto(2), c.upto(3), head_dim, 16 << (c.upto(3) - 1), dtype};
  a.heads = a.shape.kv_heads * c.upto(9);
  // Long or wide, not both: a sanitized run of seconds finds nothing more.
  constexpr double k_most_products = 2e6;
  const double longest = std::sqrt(k_most_products / (a.heads * head_dim));
  a.length = std::min(c.upto(c.flag() ? 600 : 40), static_cast<int>(longest) + 1);
  a.window = c.flag() ? c.upto(300) : 0;
  a.soft_cap = c.flag() ? 3.0f : 0.0f;
  const int chunk = c.upto(a.length);
  const auto rows = static_cast<size_t>(a.length) * static_cast<size_t>(head_dim);
  a.q = c.values(rows * static_cast<size_t>(a.heads));
  a.k = c.values(rows * static_cast<size_t>(a.shape.kv_heads));
  a.v = c.values(rows * static_cast<size_t>(a.shape.kv_heads));
  compare(1e-3f, [&](Device& device) {
    const std::vector<float> whole = a.run(device, a.length), parts = a.run(device, chunk);
    require(std::memcmp(whole.data(), parts.data(), whole.size() * sizeof(float)) == 0);
    return whole;
  });
}

struct MatmulCase {
  DType dtype;
  int rows, cols, n;
  std::vector<uint8_t> plain;
  std::vector<float> x, decoded;

  // The weight as this table wants it; what it needs beside is kept in `packed`.
  Weight weight_of(const Ops& ops, std::vector<uint8_t>& packed) const {
    const int64_t row_size = row_bytes(dtype, cols);
    const Weight weight{dtype, Weight::Layout::plain, rows, cols, row_size, plain.data()};
    packed.resize(ops.packed_bytes(dtype, rows, cols));
    if (packed.empty()) return weight;
    ops.pack(weight, packed.data(), 0, rows);
    return {dtype, Weight::Layout::packed, rows, cols, 0, packed.data()};
  }

  // The outputs of all tokens, `chunk` of them at a time; what lies after them must stay.
  std::vector<float> run(Device& device, const Weight& weight, int chunk) const {
    constexpr float k_guard = -12345.0f;
    std::vector<float> out(static_cast<size_t>(n * rows) + 64, k_guard);
    for (int first = 0; first < n; first += chunk) {
      MatmulArgs args{};
      args.x = x.data() + first * cols;
      args.x_stride = cols;
      args.n = std::min(chunk, n - first);
      args.count = 1;
      args.products[0].weight = weight;
      args.products[0].out = out.data() + first * rows;
      device.ops().matmul(device.queue(), args);
    }
    require(device.finish().ok());
    for (auto guard = out.begin() + n * rows; guard != out.end(); ++guard)
      require(*guard == k_guard);
    return out;
  }

  // By how much a table may round an input of at most 2. A packed quantized product rounds to a
  // byte per block of 32, one of f16 or bf16 on a CPU both sides to some 15 bits of a length,
  // which is at most six times the largest; everything else rounds sums only.
  double half_step(const Weight& weight) const {
    if (weight.layout != Weight::Layout::packed) return 0;
    if (info_of(dtype).block_values > 1) return 2.0 / 127 / 2;
    return dtype == DType::f32 ? 0 : 2.0 * 6 / (1 << 14);
  }

  // That, times the weight, is what an output may be off.
  void check(const std::vector<float>& out, double half_step) const {
    for (int t = 0; t < n; t++)
      for (int r = 0; r < rows; r++) {
        const float* w = decoded.data() + static_cast<int64_t>(r) * cols;
        double sum = 0, size = 0;
        for (int k = 0; k < cols; k++) {
          sum += double(w[k]) * x[static_cast<size_t>(t * cols + k)];
          size += std::fabs(w[k]);
        }
        const double error = std::fabs(out[static_cast<size_t>(t * rows + r)] - sum);
        require(error <= size * (half_step + 1e-5) + 1e-3);
      }
  }
};

void matmul(Choices& c) {
  const DTypeInfo& info = k_dtypes[c.upto(static_cast<int>(std::size(k_dtypes))) - 1];
  if (info.dtype == DType::i8 || info.dtype == DType::i32) return;
  MatmulCase m;
  m.dtype = info.dtype;
  m.cols = info.block_values > 32 ? 256 * c.upto(5) : 32 * c.upto(40);
  m.rows = c.upto(70);
  m.n = c.upto(40);
  m.x = c.values(static_cast<size_t>(m.n) * static_cast<size_t>(m.cols));
  const auto row_size = static_cast<size_t>(row_bytes(info.dtype, m.cols));
  m.plain.resize(row_size * static_cast<size_t>(m.rows));
  m.decoded.resize(static_cast<size_t>(m.rows) * static_cast<size_t>(m.cols));
  for (int r = 0; r < m.rows; r++) {
    uint8_t* row = m.plain.data() + static_cast<size_t>(r) * row_size;
    const auto values = c.values(static_cast<size_t>(m.cols));
    if (!encode_row(info.dtype, values.data(), m.cols, row)) return;
    decode_row(info.dtype, row, m.cols, m.decoded.data() + static_cast<int64_t>(r) * m.cols);
  }
  const int chunk = c.upto(m.n);
  for (const auto& device : devices()) {
    std::vector<uint8_t> packed;
    const Weight weight = m.weight_of(device->ops(), packed);
    const auto whole = m.run(*device, weight, m.n), parts = m.run(*device, weight, chunk);
    require(std::memcmp(whole.data(), parts.data(), whole.size() * sizeof(float)) == 0);
    m.check(whole, m.half_step(weight));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  Choices choices(data + 1, size - 1);
  void (*const k_operators[])(Choices&) = {norm, rope, gate, attention, matmul};
  k_operators[data[0] % std::size(k_operators)](choices);
  return 0;
}
