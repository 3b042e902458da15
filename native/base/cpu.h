#pragma once
// What this processor can do and how much of this machine the process may use, asked once.
// Threads: any.

#include <cstddef>
#include <string>

namespace millrace {

struct Cpu {
  std::string name;  // "AMD EPYC 9B14", or "unknown"
  int threads = 1;   // hardware threads this process may run on, within its groups' time quota
  int cores = 1;     // physical cores among them, likewise
  size_t memory_bytes = 0;
  bool avx2 = false;       // with FMA and F16C
  bool avx512 = false;     // F, BW, VL, DQ and VNNI, besides avx2
  bool avx_vnni = false;   // besides avx2
  bool amx = false;        // TILE and INT8, besides avx512; see may_use_amx
  bool neon_dot = false;   // 64-bit ARM with dot products of bytes
  bool neon_i8mm = false;  // besides neon_dot: products of 8-bit matrices
};

const Cpu& cpu();

// Asks the system to let this process use AMX tiles, as Linux demands; false when it refuses. From
// then on a signal frame takes 11 KB, so alternate signal stacks need as much.
bool may_use_amx();

// Memory that could be taken now without swapping, as seen when asked.
size_t free_memory_bytes();

}  // namespace millrace
