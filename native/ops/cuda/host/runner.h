#pragma once
// Runs a CUDA kernel on the CPU so that its races show. Every CUDA thread is a fiber; a block runs
// on one OS thread. The rules that make it find bugs and not only run:
//  - Barriers and every warp-wide operation are meetings: lanes that meet at different source
//    lines, a lane that left, a meeting that can never be complete are faults.
//  - The order of warps is adversarial: one warp runs as far ahead as barriers let it, in an order
//    drawn from the seed; a few blocks are under way at a time and take turns in a drawn order.
//  - What a kernel does before it waits for the one before it, it does before that one has run.
//  - An asynchronous copy lands at once, at a later barrier of the block, or only at the wait that
//    covers it, by the toss of a coin. A product of a warpgroup ends at once, at a later one or at
//    the wait; a bulk copy whenever its block takes a turn.
//  - Shared memory starts as 0xff (NaN in every float type), and is as large as was asked for.
// What it cannot see: the memory model (a missing fence), whether the four warps of a warpgroup do
// the same, bank conflicts, time.
// Threads: run() may be called by any thread; one Schedule by one thread at a time.

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "base/result.h"
#include "ops/cuda/host/async.h"

namespace millrace::simt {

struct Index {
  unsigned x = 1, y = 1, z = 1;
};

// A line of a kernel. (clang 14 has no std::source_location.)
struct Place {
  const char* file;
  unsigned line;

  static constexpr Place here(const char* file = __builtin_FILE(),
                              unsigned line = __builtin_LINE()) {
    return {file, line};
  }
};

// A meeting or wait in a kernel's source.
struct Site {
  enum class Kind { barrier, wait } kind = Kind::barrier;
  std::string file;
  unsigned line = 0;
  bool operator<(const Site& other) const {
    return std::tie(kind, file, line) < std::tie(other.kind, other.file, other.line);
  }
};

// How to run, and what was seen.
struct Schedule {
  uint64_t seed = 1;
  int os_threads = 1;
  const Site* skipped = nullptr;    // a fault to seed: this barrier or wait is not there
  std::set<Site>* sites = nullptr;  // where to collect the sites that were passed
  // Runs the kernel before, once; not to wait for it is a fault then. Any of the run's threads.
  const std::function<void()>* earlier = nullptr;
};

constexpr size_t k_max_shared_bytes = 227 * 1024;  // per block on sm_90, GPU.md section 0
constexpr unsigned k_max_block_threads = 1024;

// Runs body once per thread of grid x block. The first fault ends the run: code `internal`, the
// message says what and where.
Status run(Index grid, Index block, size_t shared_bytes, const std::function<void()>& body,
           const Schedule& schedule);

// --- what a running kernel asks, through cuda.h, ptx.h and hopper.h -----------------------------

constexpr int k_lanes = 32;

// The operation of a warp-wide meeting, run once when all lanes are there; args[lane] is what lane
// handed in.
using Together = void (*)(void* const args[k_lanes]);

const Index& thread_index();
const Index& block_index();
const Index& block_size();
const Index& grid_size();
int lane();
char* shared_memory();

void meet_block(const Place& where);
void meet_warp(Together together, void* args, const Place& where);

// Goes on when the kernel before has ended.
void wait_for_earlier(const Place& where);

// Asynchronous copies of the calling thread, in committed groups.
void copy_later(void* to, const void* from, size_t size_bytes, bool zero);
void commit_copies();
void wait_copies(int groups_left, const Place& where);

// The products that the calling thread's warp has started; asked for within a meeting of the warp.
Queue& products();
void start_product(Work work);
void wait_products(int groups_left, const Place& where);

// mbarriers, in shared memory. A thread that waits for the phase of a parity goes on once it ended.
void open_phase(void* phase, int arrivals, const Place& where);
void arrive(void* phase, uint32_t bytes_expected, const Place& where);
void wait_phase(void* phase, int parity, const Place& where);
void copy_bulk(void* to, const void* from, uint32_t size_bytes, void* phase, const Place& where);

// Ends the run with a fault that a meeting found.
void set_fault(const char* what);
// Ends the run with a fault of the calling thread.
[[noreturn]] void fault(const Place& where, const char* what);

}  // namespace millrace::simt
