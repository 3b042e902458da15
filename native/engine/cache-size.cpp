#include "engine/cache-size.h"

#include <algorithm>

namespace millrace {

namespace {

constexpr int64_t k_least_tokens = 512;       // below this a chosen cache would be of no use
constexpr int64_t k_most_tokens = 64 * 1024;  // chosen caches stop here, or at one full context

Result<KvShape> shape_of(const Config& config, DType type) {
  if (type != DType::f32 && type != DType::f16 && type != DType::q8_0) {
    return error(ErrorCode::unsupported,
                 "Expected \"cacheType\" to be f32, f16 or q8_0 on this device but received %s",
                 info_of(type).name);
  }
  if (type == DType::q8_0 && config.head_dim % 32 != 0) {
    return error(ErrorCode::unsupported,
                 "Expected a head size that is a multiple of 32 for \"cacheType\" q8_0 but the "
                 "model's is %d",
                 config.head_dim);
  }
  return KvShape{config.n_layers, config.n_kv_heads, config.head_dim, k_page_tokens, type};
}

double mebibytes(size_t bytes) { return static_cast<double>(bytes) / (1024.0 * 1024.0); }

Status too_little_memory(const CacheSize& size, int64_t pages, size_t free_bytes) {
  const KvShape& shape = size.shape;
  const double needed = mebibytes(size.page_bytes) * static_cast<double>(pages);
  const int64_t tokens = pages * shape.page_tokens;
  return error(
      ErrorCode::out_of_memory,
      "Expected a cache of %lld tokens to fit the free memory but %lld pages * %.3f MiB (%d "
      "tokens * %d layers * %d heads * %d * 2 for K and V, %s) = %.1f MiB and %.1f MiB are "
      "free",
      static_cast<long long>(tokens), static_cast<long long>(pages), mebibytes(size.page_bytes),
      shape.page_tokens, shape.layers, shape.kv_heads, shape.head_dim, info_of(shape.dtype).name,
      needed, mebibytes(free_bytes));
}

}  // namespace

Result<CacheSize> size_cache(const Config& config, const Ops& ops, const CacheWish& wish) {
  auto shape = shape_of(config, wish.type);
  TRY(shape);
  CacheSize size{*shape, ops.kv_page_bytes(*shape), 0};
  const auto pages_for = [](int64_t tokens) {
    return (tokens + k_page_tokens - 1) / k_page_tokens;
  };
  const int64_t free_pages = static_cast<int64_t>(wish.free_bytes / size.page_bytes);
  const int64_t context = std::max(config.max_positions, 1);
  int64_t pages = pages_for(wish.tokens);
  if (wish.tokens == 0) {
    const int64_t most = std::max(context, k_most_tokens);
    const int64_t wanted = pages_for(std::min(context * wish.max_sequences, most));
    const int64_t least = pages_for(std::min(context, k_least_tokens));
    pages = std::max(least, std::min(wanted, free_pages / 2));
  }
  if (pages > free_pages || pages > INT32_MAX / k_page_tokens) {
    return too_little_memory(size, pages, wish.free_bytes);
  }
  size.pages = static_cast<int>(pages);
  return size;
}

}  // namespace millrace
