// What a device does for each instruction that ptx.cuh names, as text: fragment layouts, copies,
// conversions, approximations. Compiled by nvcc it says what the hardware does; as C++, what the
// runner of host/ believes. The two must be the same, but for lines that begin with "about", whose
// last bits are the hardware's own.
//   gpu-probe > probe.txt

#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "ops/cuda/launch.h"

namespace millrace::cuda {
namespace {

struct ProbeParams {
  const uint32_t* in;
  uint32_t* out;
  int steps;
};

constexpr int k_rows = 32;  // of 16 bytes: four matrices

// Words of the fragments of four matrices, as they lie and transposed.
__global__ void __launch_bounds__(k_warp)
    matrices_kernel(const __grid_constant__ ProbeParams params) {
  begin_kernel();
  const int lane = lane_of_thread();
  char* row = shared_memory() + lane * 16;
  std::memcpy(row, params.in + lane * 4, 16);
  __syncwarp();
  uint32_t plain[4], transposed[4];
  load_matrices(plain, row);
  load_matrices_transposed(transposed, row);
  for (int i = 0; i < 4; ++i) {
    params.out[lane * 8 + i] = plain[i];
    params.out[lane * 8 + 4 + i] = transposed[i];
  }
}

// A copy of each row, every third one absent.
__global__ void __launch_bounds__(k_warp) copy_kernel(const __grid_constant__ ProbeParams params) {
  begin_kernel();
  const int lane = lane_of_thread();
  char* row = shared_memory() + lane * 16;
  copy_async_16(row, params.in + lane * 4, lane % 3 != 0);
  commit_copies();
  wait_copies<0>();
  __syncwarp();
  std::memcpy(params.out + lane * 4, row, 16);
}

// in: a [32][4], b [32][2], c [32][4]; out: c.
template <bool bf16>
__global__ void __launch_bounds__(k_warp)
    multiply_kernel(const __grid_constant__ ProbeParams params) {
  begin_kernel();
  const int lane = lane_of_thread();
  uint32_t a[4];
  float c[4];
  for (int i = 0; i < 4; ++i) {
    a[i] = params.in[lane * 4 + i];
    c[i] = float_of_bits(params.in[k_warp * 6 + lane * 4 + i]);
  }
  const uint32_t* b = params.in + k_warp * 4 + lane * 2;
  if constexpr (bf16)
    multiply_bf16(c, a, b[0], b[1]);
  else
    multiply_f16(c, a, b[0], b[1]);
  for (int i = 0; i < 4; ++i) params.out[lane * 4 + i] = bits_of_float(c[i]);
}

constexpr int k_group_warps = 4, k_group = k_group_warps * k_warp;
constexpr int k_group_in = k_group * 8 + 2 * k_warp;  // words for each step of K

// Products of a warpgroup, by its own instruction or by each warp's, one after another over K. For
// each step, in: a [4][32][4], c [4][32][4] of which the first step's counts, b as two matrices.
template <bool as_group>
__global__ void __launch_bounds__(k_group)
    multiply_group_kernel(const __grid_constant__ ProbeParams params) {
  begin_kernel();
  const int thread = static_cast<int>(threadIdx.x), lane = lane_of_thread();
  float c[4];
  for (int i = 0; i < 4; ++i) c[i] = float_of_bits(params.in[k_group * 4 + thread * 4 + i]);
  for (int step = 0; step < params.steps; ++step) {
    const uint32_t* in = params.in + step * k_group_in;
    const uint32_t* b = in + k_group * 8;
    uint32_t a[4];
    for (int i = 0; i < 4; ++i) a[i] = in[thread * 4 + i];
    if constexpr (as_group) {
      auto* shared = reinterpret_cast<uint32_t*>(shared_memory());
      __syncthreads();
      if (thread < 2 * k_warp) shared[thread] = b[thread];
      __syncthreads();
      multiply_group_bf16(c, a, shared);
    } else {
      multiply_bf16(c, a, b[lane], b[k_warp + lane]);
    }
  }
  // A line of the output has one lane of each warp.
  for (int i = 0; i < 4; ++i)
    params.out[lane * 16 + warp_of_thread() * 4 + i] = bits_of_float(c[i]);
}

// Of one f32 for each lane its f16 and bf16; of a pair of halves the higher as f32, read as f16 and
// as bf16, and the pair less 1152 and 1.
__global__ void __launch_bounds__(k_warp)
    convert_kernel(const __grid_constant__ ProbeParams params) {
  begin_kernel();
  const int lane = lane_of_thread();
  const float value = float_of_bits(params.in[lane]);
  const uint32_t bits = params.in[k_warp + lane];
  uint32_t* out = params.out + lane * 5;
  out[0] = f16_of_f32(value);
  out[1] = bf16_of_f32(value);
  out[2] = bits_of_float(f32_of_f16(static_cast<uint16_t>(bits >> 16)));
  out[3] = bits_of_float(bf16_as_f32(static_cast<uint16_t>(bits >> 16)));
  out[4] = subtract_pairs(bits, 0x64803c00u);
}

__global__ void __launch_bounds__(k_warp)
    approximate_kernel(const __grid_constant__ ProbeParams params) {
  begin_kernel();
  const int lane = lane_of_thread();
  const float value = float_of_bits(params.in[lane]);
  params.out[lane * 2] = bits_of_float(exponential(-fabsf(value)));
  params.out[lane * 2 + 1] = bits_of_float(reciprocal_root(fabsf(value)));
}

class Probe {
 public:
  explicit Probe(Stream& stream) : stream_(stream) {}
  bool passed() const { return passed_; }

  // What a kernel of one block writes.
  std::vector<uint32_t> words_of(void (*kernel)(ProbeParams), const std::vector<uint32_t>& in,
                                 int words_of_lane, int threads = k_warp, int steps = 1) {
    std::vector<uint32_t> words(static_cast<size_t>(k_warp) * static_cast<size_t>(words_of_lane));
    const size_t in_bytes = in.size() * sizeof(uint32_t);
    const size_t out_bytes = words.size() * sizeof(uint32_t);
    auto* from = static_cast<uint32_t*>(stream_.alloc(in_bytes));
    auto* to = static_cast<uint32_t*>(stream_.alloc(out_bytes));
    Status status = from && to ? Status() : error(ErrorCode::out_of_memory, "no memory");
    if (status.ok()) status = stream_.copy(from, in.data(), in_bytes);
    if (status.ok())
      launch(stream_, kernel, {1}, threads, k_rows * 16, ProbeParams{from, to, steps});
    if (status.ok()) status = stream_.finish();
    if (status.ok()) status = stream_.copy(words.data(), to, out_bytes);
    stream_.release(from);
    stream_.release(to);
    if (!status.ok()) std::fprintf(stderr, "gpu-probe: %s\n", status.message().c_str());
    passed_ &= status.ok();
    return words;
  }

  static void print(const char* name, const std::vector<uint32_t>& words) {
    const size_t width = words.size() / k_warp;
    for (size_t i = 0; i < words.size(); ++i) {
      if (i % width == 0) std::printf("%s%s %zu:", i ? "\n" : "", name, i / width);
      std::printf(" %08x", words[i]);
    }
    std::printf("\n");
  }

  void run(const char* name, void (*kernel)(ProbeParams), const std::vector<uint32_t>& in,
           int words_of_lane) {
    print(name, words_of(kernel, in, words_of_lane));
  }

 private:
  Stream& stream_;
  bool passed_ = true;
};

// Two whole numbers from -8 to 8 in one word, as f16 or as bf16: products and sums are exact.
uint32_t small_pair(std::mt19937& random, bool bf16) {
  uint32_t pair = 0;
  for (int half = 0; half < 2; ++half) {
    const auto value = static_cast<float>(static_cast<int>(random() % 17) - 8);
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    // A whole number this small has as many bits in f16: only the exponent is narrower.
    const uint32_t f16 =
        value == 0 ? 0 : (bits >> 16 & 0x8000u) | (((bits >> 13) & 0x3ffffu) - (112u << 10));
    pair |= (bf16 ? bits >> 16 : f16) << (16 * half);
  }
  return pair;
}

std::vector<uint32_t> product(uint32_t seed, bool bf16) {
  std::mt19937 random(seed);
  std::vector<uint32_t> words(k_warp * 10);
  for (size_t i = 0; i < words.size(); ++i) {
    const auto start = static_cast<float>(random() % 100);
    if (i < k_warp * 6)
      words[i] = small_pair(random, bf16);
    else
      std::memcpy(&words[i], &start, sizeof start);
  }
  return words;
}

// For a warpgroup: whole numbers, or what has to be rounded.
std::vector<uint32_t> group_product(uint32_t seed, int steps, bool exact) {
  std::mt19937 random(seed);
  std::vector<uint32_t> words(static_cast<size_t>(steps * k_group_in));
  for (size_t i = 0; i < words.size(); ++i) {
    const bool is_sum = i % k_group_in / (k_group * 4) == 1;
    const auto start = static_cast<float>(random() % 100);
    if (is_sum)
      std::memcpy(&words[i], &start, sizeof start);
    else if (exact)
      words[i] = small_pair(random, true);
    else  // signs, and magnitudes from 2^-7 to 2
      words[i] = (random() & 0x83ff83ffu) | 0x3c003c00u;
  }
  return words;
}

// Whether neither half of a pair is infinite or NaN, as f16; the pattern of a NaN is the hardware's
// own, and no kernel depends on it.
bool are_finite(uint32_t pair) {
  return (pair & 0x7c00u) != 0x7c00u && (pair & 0x7c000000u) != 0x7c000000u;
}

// Ties, denormals, infinities and the borders of f16, then whatever comes; then pairs of halves.
std::vector<uint32_t> difficult() {
  std::vector<uint32_t> words = {0x00000000, 0x80000000, 0x3f800000, 0x3f801000, 0x3f803000,
                                 0x3f800fff, 0x3f801001, 0x3f808000, 0x3f818000, 0x477fe000,
                                 0x477fefff, 0x477ff000, 0x33000000, 0x33000001, 0x33800000,
                                 0x387fc000, 0x38800000, 0x7f800000, 0xff800000, 0x00000001,
                                 0x7f7fffff, 0xc2f00000, 0x42b00000};
  std::mt19937 random(1);
  while (words.size() < k_warp)
    if (const uint32_t word = random(); (word & 0x7f800000u) != 0x7f800000u) words.push_back(word);
  while (words.size() < 2 * k_warp)
    if (const uint32_t pair = random(); are_finite(pair)) words.push_back(pair);
  return words;
}

std::vector<uint32_t> counted(size_t n) {
  std::vector<uint32_t> words(n);
  for (size_t i = 0; i < n; ++i) words[i] = static_cast<uint32_t>((2 * i + 1) << 16 | 2 * i);
  return words;
}

}  // namespace
}  // namespace millrace::cuda

int main() {
  using namespace millrace;
  using namespace millrace::cuda;
  auto stream = Stream::open(0);
  if (!stream.ok()) {
    std::fprintf(stderr, "gpu-probe: %s\n", stream.status().message().c_str());
    return 1;
  }
  const DeviceFacts facts = (*stream)->facts();
  std::printf("# %s, %s\n", facts.name.c_str(), facts.platform.c_str());
  Probe probe(**stream);
  probe.run("matrices", matrices_kernel, counted(k_rows * 4), 8);
  probe.run("copies", copy_kernel, counted(k_rows * 4), 4);
  for (uint32_t seed = 1; seed <= 3; ++seed) {
    probe.run("multiply-f16", multiply_kernel<false>, product(seed, false), 4);
    probe.run("multiply-bf16", multiply_kernel<true>, product(seed, true), 4);
  }
  probe.run("conversions", convert_kernel, difficult(), 5);
  probe.run("about", approximate_kernel, difficult(), 2);
  // Warpgroups are Hopper's; the runner has them as well.
  const std::string& platform = facts.platform;
  if (platform.find("capability") == std::string::npos ||
      platform.find("capability 9.0") != std::string::npos) {
    const auto by = [&](void (*kernel)(ProbeParams), bool exact, int steps) {
      return probe.words_of(kernel, group_product(7, steps, exact), 16, k_group, steps);
    };
    Probe::print("group-bf16", by(multiply_group_kernel<true>, true, 3));
    // No kernel may mix the two unless they are alike to the last bit.
    const bool alike =
        by(multiply_group_kernel<true>, false, 64) == by(multiply_group_kernel<false>, false, 64);
    std::printf("# a warpgroup's products round as a warp's: %s\n", alike ? "yes" : "no");
  }
  return probe.passed() ? 0 : 1;
}
