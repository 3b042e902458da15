// The machine's physical limits, which every result is divided by: sequential read bandwidth over
// huge pages, peak f32 multiply-adds and peak int8 multiply-adds (2 operations each), for 1..N
// threads, each on its own core; and the barrier that every part of a step pays here, a call of the
// thread pool in which each worker waits for the others. Prints one JSON object; medians of some
// repetitions.
//   bench-limits [threads] [MiB per thread] [repetitions]

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/cpu.h"
#include "base/thread-pool.h"

using namespace millrace;

namespace {

struct Buffer {
  char* data = nullptr;
  size_t size = 0;
};

constexpr size_t k_huge_page = size_t{2} << 20;

Buffer take_buffer(size_t size) {
  char* data = static_cast<char*>(std::aligned_alloc(k_huge_page, size));
  if (data == nullptr) return {};
#if defined(__linux__)
  madvise(data, size, MADV_HUGEPAGE);
#endif
  return {data, size};
}

void pin(int core) {
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
#else
  (void)core;
#endif
}

volatile uint64_t sink;

// A peak: what one call computes, and in how many operations.
struct Peak {
  const char* name;
  double operations;
  void (*run)(long rounds);
};

#if defined(__x86_64__)

__attribute__((target("avx2"))) void read_all(const Buffer& buffer) {
  __m256i sums[4] = {};
  for (size_t at = 0; at < buffer.size; at += 128)
    for (size_t i = 0; i < 4; i++) {
      const auto* from = reinterpret_cast<const __m256i*>(buffer.data + at + 32 * i);
      sums[i] = _mm256_xor_si256(sums[i], _mm256_load_si256(from));
    }
  const __m256i all =
      _mm256_xor_si256(_mm256_xor_si256(sums[0], sums[1]), _mm256_xor_si256(sums[2], sums[3]));
  sink = static_cast<uint64_t>(_mm256_extract_epi64(all, 0));
}

// Twelve chains of one instruction, in registers that the compiler does not touch: what it is given
// as an array it stores after each instruction. The numbers in them do not matter.
#define MILLRACE_CHAINS(instructions) \
  "\t.irp n, 4,5,6,7,8,9,10,11,12,13,14,15\n\t" instructions "\n\t.endr\n"
#define MILLRACE_CHAIN_REGISTERS                                                              \
  "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", \
      "xmm14", "xmm15"

__attribute__((target("avx2,fma"))) void fma_avx2(long rounds) {
  const __m256 x = _mm256_setzero_ps();
  for (long round = 0; round < rounds; round++)
    asm volatile(MILLRACE_CHAINS("vfmadd231ps %0, %0, %%ymm\\n")
                 :
                 : "x"(x)
                 : MILLRACE_CHAIN_REGISTERS);
}

__attribute__((target("avx512f"))) void fma_avx512(long rounds) {
  const __m512 x = _mm512_setzero_ps();
  for (long round = 0; round < rounds; round++)
    asm volatile(MILLRACE_CHAINS("vfmadd231ps %0, %0, %%zmm\\n")
                 :
                 : "v"(x)
                 : MILLRACE_CHAIN_REGISTERS);
}

// The multiply-add and the addition that a product of 16 bits takes without VNNI.
__attribute__((target("avx2"))) void int16_avx2(long rounds) {
  const __m256i x = _mm256_set1_epi16(3);
  for (long round = 0; round < rounds; round++)
    asm volatile(MILLRACE_CHAINS("vpmaddwd %0, %0, %%ymm3\n\tvpaddd %%ymm3, %%ymm\\n, %%ymm\\n")
                 :
                 : "x"(x)
                 : MILLRACE_CHAIN_REGISTERS);
}

__attribute__((target("avx512f"))) void int16_vnni(long rounds) {
  const __m512i x = _mm512_set1_epi32(0x00030003);
  for (long round = 0; round < rounds; round++)
    asm volatile(MILLRACE_CHAINS("vpdpwssd %0, %0, %%zmm\\n")
                 :
                 : "v"(x)
                 : MILLRACE_CHAIN_REGISTERS);
}

// The pair of multiply-adds and the addition that an int8 product takes without VNNI.
__attribute__((target("avx2"))) void int8_avx2(long rounds) {
  const __m256i x = _mm256_set1_epi8(3), one = _mm256_set1_epi16(1);
  for (long round = 0; round < rounds; round++)
    asm volatile(MILLRACE_CHAINS("vpmaddubsw %0, %0, %%ymm3\n\tvpmaddwd %1, %%ymm3, %%ymm3\n\t"
                                 "vpaddd %%ymm3, %%ymm\\n, %%ymm\\n")
                 :
                 : "x"(x), "x"(one)
                 : MILLRACE_CHAIN_REGISTERS);
}

__attribute__((target("avx512f"))) void int8_vnni(long rounds) {
  const __m512i x = _mm512_set1_epi32(0x03030303);
  for (long round = 0; round < rounds; round++)
    asm volatile(MILLRACE_CHAINS("vpdpbusd %0, %0, %%zmm\\n")
                 :
                 : "v"(x)
                 : MILLRACE_CHAIN_REGISTERS);
}

__attribute__((target("avx2"))) void int8_avx_vnni(long rounds) {
  const __m256i x = _mm256_set1_epi32(0x03030303);
  for (long round = 0; round < rounds; round++)
    asm volatile(MILLRACE_CHAINS("%{vex%} vpdpbusd %0, %0, %%ymm\\n")
                 :
                 : "x"(x)
                 : MILLRACE_CHAIN_REGISTERS);
}

// Whole tiles of AMX: 16 x 16 products of 64 bytes, four at a time.
void int8_amx(long rounds) {
  struct alignas(64) {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16};
  } shapes;
  asm volatile("ldtilecfg %0" : : "m"(shapes));
  asm volatile("tilezero %%tmm4\n\ttilezero %%tmm5" : :);
  for (long round = 0; round < rounds; round += 4)
    asm volatile(
        "tdpbssd %%tmm5, %%tmm4, %%tmm0\n\ttdpbssd %%tmm5, %%tmm4, %%tmm1\n\t"
        "tdpbssd %%tmm5, %%tmm4, %%tmm2\n\ttdpbssd %%tmm5, %%tmm4, %%tmm3"
        :
        :);
  asm volatile("tilerelease");
}

std::vector<Peak> peaks() {
  std::vector<Peak> known;
  if (__builtin_cpu_supports("fma")) known.push_back({"f32_avx2", 12 * 16.0, fma_avx2});
  if (__builtin_cpu_supports("avx512f")) known.push_back({"f32_avx512", 12 * 32.0, fma_avx512});
  if (__builtin_cpu_supports("avx2")) known.push_back({"int16_avx2", 12 * 32.0, int16_avx2});
  if (__builtin_cpu_supports("avx512vnni")) known.push_back({"int16_vnni", 12 * 64.0, int16_vnni});
  if (__builtin_cpu_supports("avx2")) known.push_back({"int8_avx2", 12 * 64.0, int8_avx2});
  if (cpu().avx_vnni) known.push_back({"int8_avx_vnni", 12 * 64.0, int8_avx_vnni});
  if (__builtin_cpu_supports("avx512vnni")) known.push_back({"int8_vnni", 12 * 128.0, int8_vnni});
  if (cpu().amx && may_use_amx()) known.push_back({"int8_amx", 2.0 * 16 * 16 * 64, int8_amx});
  return known;
}

#else

void read_all(const Buffer& buffer) {
  uint64_t sum = 0;
  for (size_t at = 0; at < buffer.size; at += sizeof sum) {
    uint64_t word;
    std::memcpy(&word, buffer.data + at, sizeof word);
    sum ^= word;
  }
  sink = sum;
}

std::vector<Peak> peaks() { return {}; }

#endif

// Seconds that `threads` threads take for one call each, from the first start to the last end. They
// read the clock themselves: on a machine with no other core, whoever started them would read it
// late.
template <class F>
double seconds(int threads, F&& body) {
  using Clock = std::chrono::steady_clock;
  std::atomic<int> ready = 0;
  std::vector<Clock::time_point> starts(threads), ends(threads);
  std::vector<std::thread> workers;
  for (int i = 0; i < threads; i++)
    workers.emplace_back([&, i] {
      pin(i);
      ready++;
      while (ready < threads) std::this_thread::yield();
      starts[i] = Clock::now();
      body(i);
      ends[i] = Clock::now();
    });
  for (auto& worker : workers) worker.join();
  const auto start = *std::min_element(starts.begin(), starts.end());
  const auto end = *std::max_element(ends.begin(), ends.end());
  return std::chrono::duration<double>(end - start).count();
}

template <class F>
double median_of(int repetitions, F&& once) {
  std::vector<double> values;
  for (int i = 0; i < repetitions; i++) values.push_back(once());
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

template <class F>
double median_rate(int repetitions, double amount, F&& once) {
  return median_of(repetitions, [&] { return amount / once() / 1e9; });
}

// Microseconds of a call of the pool from its start to its end, workers awake, one range for each:
// none ends before all have begun.
double barrier_us(int threads, int repetitions) {
  using Clock = std::chrono::steady_clock;
  constexpr int k_calls = 20'000;
  ThreadPool pool(threads);
  std::atomic<long> begun = 0;
  long calls = 0;
  return median_of(repetitions, [&] {
    const auto start = Clock::now();
    for (int i = 0; i < k_calls; i++) {
      const long all = ++calls * pool.size();
      pool.parallel_for(pool.size(), 1, [&](int, int, int) {
        begun++;
        for (int tries = 0; begun < all; tries++)
          if (tries > 1000) std::this_thread::yield();  // somebody has no core of its own
      });
    }
    return std::chrono::duration<double, std::micro>(Clock::now() - start).count() / k_calls;
  });
}

void print_list(const char* name, const std::vector<double>& values, bool last) {
  std::printf("\"%s\":[", name);
  for (size_t i = 0; i < values.size(); i++) std::printf("%s%.2f", i ? "," : "", values[i]);
  std::printf("]%s", last ? "}\n" : ",");
}

constexpr long k_rounds = 20'000'000;

}  // namespace

int main(int argc, char** argv) {
  const int most = argc > 1 ? std::max(1, std::atoi(argv[1])) : 2;
  const size_t mib = argc > 2 ? static_cast<size_t>(std::max(2, std::atoi(argv[2]))) : 512;
  const int repetitions = argc > 3 ? std::max(1, std::atoi(argv[3])) : 5;
  std::vector<Buffer> buffers;
  for (int i = 0; i < most; i++) buffers.push_back(take_buffer(mib / 2 * k_huge_page));
  for (const auto& buffer : buffers)
    if (buffer.data == nullptr) return std::fprintf(stderr, "Expected %zu MiB\n", mib), 1;
  seconds(most, [&](int i) { std::memset(buffers[i].data, i + 1, buffers[i].size); });

  std::printf("{");
  std::vector<double> rates;
  for (int threads = 1; threads <= most; threads++)
    rates.push_back(median_rate(repetitions, threads * double(buffers[0].size), [&] {
      return seconds(threads, [&](int i) { read_all(buffers[i]); });
    }));
  const auto known = peaks();
  print_list("read", rates, false);
  rates.clear();
  for (int threads = 1; threads <= most; threads++)
    rates.push_back(barrier_us(threads, repetitions));
  print_list("barrier_us", rates, known.empty());
  for (size_t k = 0; k < known.size(); k++) {
    rates.clear();
    for (int threads = 1; threads <= most; threads++)
      rates.push_back(median_rate(repetitions, threads * known[k].operations * k_rounds, [&] {
        return seconds(threads, [&](int) { known[k].run(k_rounds); });
      }));
    print_list(known[k].name, rates, k + 1 == known.size());
  }
  for (const auto& buffer : buffers) std::free(buffer.data);
  return 0;
}
