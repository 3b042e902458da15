#pragma once
// How many KV pages an engine gets: as many as were asked for, or what free memory allows.
// Threads: any (pure functions).

#include "base/result.h"
#include "model/config.h"
#include "ops/ops.h"

namespace millrace {

// Positions per page: small enough that short shared prefixes count, large enough that a page table
// and its hashes cost nothing beside attention.
inline constexpr int k_page_tokens = 32;

struct CacheSize {
  KvShape shape;
  size_t page_bytes = 0;
  int pages = 0;
  size_t size_bytes() const { return page_bytes * static_cast<size_t>(pages); }
};

struct CacheWish {
  DType type = DType::f16;
  int64_t tokens = 0;  // 0: chosen
  int max_sequences = 1;
  size_t free_bytes = 0;  // beside weights and workspace
};

// Refuses an unsupported type, and with the whole sum what does not fit the free memory.
Result<CacheSize> size_cache(const Config& config, const Ops& ops, const CacheWish& wish);

}  // namespace millrace
