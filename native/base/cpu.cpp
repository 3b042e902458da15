#include "base/cpu.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__APPLE__)
#include <sys/sysctl.h>
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif
#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#endif

namespace millrace {
namespace {

#if defined(__x86_64__) && defined(__GNUC__)
// clang 14 does not know this name in __builtin_cpu_supports.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

// Nor older gcc this one: leaf 7, second page.
bool has_avx_vnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}

// Leaf 7 says that the processor has AMX, the control register that the system saves its tiles.
bool has_amx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned k_tile_and_int8 = 3u << 24, k_saves_registers = 1u << 27;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & k_saves_registers)) return false;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & k_tile_and_int8) != k_tile_and_int8)
    return false;
  constexpr unsigned k_tiles = 3u << 17;
  unsigned low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & k_tiles) == k_tiles;
}
#endif

// The first line of a small system file, or "".
std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The text after the colon of the first line of a system file that starts with key.
std::string field_of(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, key.size(), key) != 0) continue;
    const size_t start = line.find_first_not_of(" \t", line.find(':') + 1);
    return start == std::string::npos ? "" : line.substr(start);
  }
  return "";
}

size_t kilobytes_of(const char* key) {
  return static_cast<size_t>(std::strtoull(field_of("/proc/meminfo", key).c_str(), nullptr, 10)) *
         1024;
}

// Bytes from a control group's file; no limit when absent or "max".
size_t group_limit(const char* path) {
  const std::string line = first_line(path);
  if (line.empty() || line == "max") return std::numeric_limits<size_t>::max();
  return static_cast<size_t>(std::strtoull(line.c_str(), nullptr, 10));
}

// Whole processors of the container's time quota; no limit when there is none.
int quota_cores() {
  std::istringstream line(first_line("/sys/fs/cgroup/cpu.max"));
  double quota = 0, period = 0;
  if (!(line >> quota >> period) || period <= 0) return std::numeric_limits<int>::max();
  return std::max(1, static_cast<int>(quota / period));
}

void count_processors(Cpu& info) {
  info.threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  info.cores = info.threads;
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return;
  info.threads = std::max(1, CPU_COUNT(&set));
  std::set<std::string> cores;  // a core is the list of its sibling threads
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (!CPU_ISSET(static_cast<size_t>(i), &set)) continue;
    const std::string siblings = first_line("/sys/devices/system/cpu/cpu" + std::to_string(i) +
                                            "/topology/thread_siblings_list");
    cores.insert(siblings.empty() ? std::to_string(i) : siblings);
  }
  info.cores = std::clamp(static_cast<int>(cores.size()), 1, quota_cores());
#endif
}

Cpu ask() {
  Cpu info;
  info.name = "unknown";
  count_processors(info);
#if defined(__linux__)
  const std::string name = field_of("/proc/cpuinfo", "model name");
  if (!name.empty()) info.name = name;
  info.memory_bytes = std::min(kilobytes_of("MemTotal"), group_limit("/sys/fs/cgroup/memory.max"));
#elif defined(__APPLE__)
  size_t size = sizeof info.memory_bytes;
  sysctlbyname("hw.memsize", &info.memory_bytes, &size, nullptr, 0);
#endif
#if defined(__aarch64__) && defined(__linux__)
  info.neon_dot = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
  constexpr unsigned long k_i8mm = 1ul << 13;  // HWCAP2_I8MM, which older headers lack
  info.neon_i8mm = info.neon_dot && (getauxval(AT_HWCAP2) & k_i8mm) != 0;
#elif defined(__aarch64__) && defined(__APPLE__)
  info.neon_dot = true;  // the first of them had it
  int has_i8mm = 0;
  size_t i8mm_size = sizeof has_i8mm;
  sysctlbyname("hw.optional.arm.FEAT_I8MM", &has_i8mm, &i8mm_size, nullptr, 0);
  info.neon_i8mm = has_i8mm != 0;
#elif defined(__x86_64__) && defined(__GNUC__)
  info.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  info.avx_vnni = info.avx2 && has_avx_vnni();
  info.avx512 = info.avx2 && __builtin_cpu_supports("avx512f") &&
                __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
  info.amx = info.avx512 && has_amx();
#endif
  return info;
}

}  // namespace

const Cpu& cpu() {
  static const Cpu k_cpu = ask();
  return k_cpu;
}

bool may_use_amx() {
#if defined(__x86_64__) && defined(__linux__)
  constexpr int k_request_permission = 0x1023, k_tile_data = 18;  // ARCH_REQ_XCOMP_PERM
  return syscall(SYS_arch_prctl, k_request_permission, k_tile_data) == 0;
#else
  return false;
#endif
}

size_t free_memory_bytes() {
#if defined(__linux__)
  const size_t limit = group_limit("/sys/fs/cgroup/memory.max");
  const size_t used = limit == std::numeric_limits<size_t>::max()
                          ? 0
                          : group_limit("/sys/fs/cgroup/memory.current");
  return std::min(kilobytes_of("MemAvailable"), limit > used ? limit - used : 0);
#else
  return cpu().memory_bytes;
#endif
}

}  // namespace millrace
