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

constexpr int k_group = 4 * k_warp;            // threads of a warpgroup
constexpr int k_groups = 8;                    // of eight tokens
constexpr int k_tile = k_groups * 8 * 64 / 2;  // words: 64 columns of each token
constexpr int k_group_in = 4 * k_group * 4 + k_tile;
constexpr int k_group_bytes = k_tile * 4;

// The product of a tile, by a warpgroup's instruction or by each warp's, added up a number of
// times. In: a [4 steps][4][32][4], then the tile as it lies; out: the first and the last eight
// tokens, one lane of each warp in a line.
template <bool bf16, bool as_group>
__global__ void __launch_bounds__(k_group)
    multiply_group_kernel(const __grid_constant__ ProbeParams params) {
  begin_kernel();
  if constexpr (k_has_groups) {
    const int thread = static_cast<int>(threadIdx.x), lane = lane_of_thread();
    char* tile = shared_memory();
    for (int i = thread; i < k_tile; i += k_group)
      std::memcpy(tile + i * 4, params.in + 4 * k_group * 4 + i, 4);
    publish_shared();
    __syncthreads();
    float c[k_groups][4] = {};
    for (int step = 0; step < params.steps * 4; ++step) {
      uint32_t a[4];
      for (int i = 0; i < 4; ++i) a[i] = params.in[(step % 4 * k_group + thread) * 4 + i];
      if constexpr (as_group) {
        begin_products();
        multiply_group<bf16>(c, a, tile, step % 4, step > 0);
        commit_products();
        wait_products<0>(c);
      } else {
        for (int g = 0; g < k_groups; ++g) {
          uint32_t b[4];
          const int token = g * 8 + lane % 8, chunk = step % 4 / 2 * 4 + lane / 8;
          load_matrices(b, tile + token * 128 + (chunk ^ token % 8) * 16);
          if constexpr (bf16)
            multiply_bf16(c[g], a, b[step % 2 * 2], b[step % 2 * 2 + 1]);
          else
            multiply_f16(c[g], a, b[step % 2 * 2], b[step % 2 * 2 + 1]);
        }
      }
    }
    for (int i = 0; i < 8; ++i)
      params.out[lane * 32 + warp_of_thread() * 8 + i] =
          bits_of_float(c[i < 4 ? 0 : k_groups - 1][i % 4]);
  }
}

// Two bulk copies into the same place, the second when all lanes have read the first.
__global__ void __launch_bounds__(k_warp) bulk_kernel(const __grid_constant__ ProbeParams params) {
  begin_kernel();
  if constexpr (k_has_groups) {
    const int lane = lane_of_thread();
    char* rows = shared_memory();
    auto* full = reinterpret_cast<Phase*>(rows + k_rows * 16);
    Phase* empty = full + 1;
    if (lane == 0) {
      open_phase(full, 1);
      open_phase(empty, k_warp);
      publish_shared();
    }
    __syncwarp();
    for (int round = 0; round < 2; ++round) {
      if (lane == 0) {
        wait_phase(empty, round ^ 1);
        arrive_and_expect(full, k_rows * 16);
        copy_bulk(rows, params.in + round * k_rows * 4, k_rows * 16, full);
      }
      wait_phase(full, round);
      std::memcpy(params.out + lane * 8 + round * 4, rows + lane * 16, 16);
      arrive(empty);
    }
  }
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
      launch(stream_, kernel, {1}, threads, k_group_bytes, ProbeParams{from, to, steps});
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
std::vector<uint32_t> group_product(uint32_t seed, bool bf16, bool exact) {
  std::mt19937 random(seed);
  std::vector<uint32_t> words(k_group_in);
  for (uint32_t& word : words)  // signs, and magnitudes from 2^-7 to 2 (as f16 from 1 to 4)
    word = exact ? small_pair(random, bf16) : (random() & 0x83ff83ffu) | 0x3c003c00u;
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
    const auto by = [&](void (*kernel)(ProbeParams), bool bf16, int steps) {
      return probe.words_of(kernel, group_product(7, bf16, steps == 1), 32, k_group, steps);
    };
    probe.run("group-bulk", bulk_kernel, counted(2 * k_rows * 4), 8);
    Probe::print("group-bf16", by(multiply_group_kernel<true, true>, true, 1));
    Probe::print("group-f16", by(multiply_group_kernel<false, true>, false, 1));
    // No kernel may mix the two unless they are alike to the last bit.
    const bool alike = by(multiply_group_kernel<true, true>, true, 16) ==
                           by(multiply_group_kernel<true, false>, true, 16) &&
                       by(multiply_group_kernel<false, true>, false, 16) ==
                           by(multiply_group_kernel<false, false>, false, 16);
    std::printf("# a warpgroup's products round as a warp's: %s\n", alike ? "yes" : "no");
  }
  return probe.passed() ? 0 : 1;
}
