#include "base/cpu.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>
#include <thread>
#include <vector>

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

#ifdef MILLRACE_EMULATED_TILES
constexpr bool k_emulates_tiles = true;
#else
constexpr bool k_emulates_tiles = false;
#endif

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

// The folders of the control groups that limit a resource ("cpu", "memory") of this process, of
// either version, from its own to the root, which in a container is the container's.
std::vector<std::string> group_folders(const std::string& resource) {
  std::vector<std::string> folders;
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {  // number:controllers:path
    const size_t start = line.find(':') + 1, end = line.find(':', start);
    if (end == std::string::npos) continue;
    const std::string controllers = "," + line.substr(start, end - start) + ",";
    const bool is_second = controllers == ",,";
    if (!is_second && controllers.find("," + resource + ",") == std::string::npos) continue;
    const std::string root = "/sys/fs/cgroup" + (is_second ? "" : "/" + resource);
    std::string path = line.substr(end + 1);
    for (; path.find('/') == 0; path.resize(path.rfind('/'))) folders.push_back(root + path);
    folders.push_back(root);
  }
  return folders;
}

// The line of the second version's file, else of the first's.
std::string group_line(const std::string& folder, const char* second, const char* first) {
  const std::string line = first_line(folder + second);
  return line.empty() ? first_line(folder + first) : line;
}

// Bytes of files that a group has read or mapped: the kernel gives them back when it has to.
size_t group_file_bytes(const std::string& folder) {
  std::ifstream file(folder + "/memory.stat");
  size_t own = 0, below = 0, value = 0;
  for (std::string key; file >> key >> value;) {
    if (key == "inactive_file" || key == "active_file") own += value;
    if (key == "total_inactive_file" || key == "total_active_file") below += value;
  }
  return std::max(own, below);
}

// Bytes that the groups allow, less what is in use where that is asked; no limit where none is set.
size_t group_bytes(bool less_used) {
  size_t least = std::numeric_limits<size_t>::max();
  for (const std::string& folder : group_folders("memory")) {
    const std::string limit = group_line(folder, "/memory.max", "/memory.limit_in_bytes");
    const std::string used = group_line(folder, "/memory.current", "/memory.usage_in_bytes");
    if (limit.empty() || limit == "max") continue;
    const size_t most = std::strtoull(limit.c_str(), nullptr, 10);
    size_t taken = less_used ? std::strtoull(used.c_str(), nullptr, 10) : 0;
    taken -= std::min(taken, group_file_bytes(folder));
    least = std::min(least, most > taken ? most - taken : 0);
  }
  return least;
}

// Whole processors of the groups' time quotas; no limit when there is none.
int quota_cores() {
  int least = std::numeric_limits<int>::max();
  for (const std::string& folder : group_folders("cpu")) {
    std::istringstream line(group_line(folder, "/cpu.max", "/cpu.cfs_quota_us") + " " +
                            first_line(folder + "/cpu.cfs_period_us"));
    double quota = 0, period = 0;
    if (line >> quota >> period && quota > 0 && period > 0)
      least = std::min(least, std::max(1, static_cast<int>(quota / period)));
  }
  return least;
}

void count_processors(Cpu& info) {
  info.threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  info.cores = info.threads;
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  std::set<std::string> cores;  // a core is the list of its sibling threads
  if (sched_getaffinity(0, sizeof set, &set) == 0) info.threads = std::max(1, CPU_COUNT(&set));
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (!CPU_ISSET(static_cast<size_t>(i), &set)) continue;
    const std::string siblings = first_line("/sys/devices/system/cpu/cpu" + std::to_string(i) +
                                            "/topology/thread_siblings_list");
    cores.insert(siblings.empty() ? std::to_string(i) : siblings);
  }
  if (!cores.empty()) info.cores = static_cast<int>(cores.size());
  info.cores = std::min(info.cores, quota_cores());
  info.threads = std::min(info.threads, quota_cores());
#endif
}

Cpu ask() {
  Cpu info;
  info.name = "unknown";
  count_processors(info);
#if defined(__linux__)
  const std::string name = field_of("/proc/cpuinfo", "model name");
  if (!name.empty()) info.name = name;
  info.memory_bytes = std::min(kilobytes_of("MemTotal"), group_bytes(false));
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
  info.amx = info.avx512 && (k_emulates_tiles || has_amx());
#endif
  return info;
}

}  // namespace

const Cpu& cpu() {
  static const Cpu k_cpu = ask();
  return k_cpu;
}

bool may_use_amx() {
  if (k_emulates_tiles) return true;
#if defined(__x86_64__) && defined(__linux__)
  constexpr int k_request_permission = 0x1023, k_tile_data = 18;  // ARCH_REQ_XCOMP_PERM
  return syscall(SYS_arch_prctl, k_request_permission, k_tile_data) == 0;
#else
  return false;
#endif
}

size_t free_memory_bytes() {
#if defined(__linux__)
  return std::min(kilobytes_of("MemAvailable"), group_bytes(true));
#else
  return cpu().memory_bytes;
#endif
}

}  // namespace millrace
