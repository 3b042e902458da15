#include "model/matrix.h"

#include <algorithm>

#include "base/thread-pool.h"

namespace millrace {

namespace {
constexpr int k_groups_at_a_time = 16;  // well under a millisecond
}

void Matrix::set(const Weight& plain, const Ops& ops, void* room, size_t size_bytes) {
  plain_ = plain;
  room_ = room;
  room_bytes_ = size_bytes;
  groups_ = (plain.rows + ops.pack_rows - 1) / ops.pack_rows;
  left_ = groups_;
}

Weight Matrix::now() const {
  if (groups_ == 0 || !is_packed()) return plain_;
  return {plain_.dtype, Weight::Layout::packed, plain_.rows, plain_.cols, 0, room_};
}

bool Matrix::pack_some(const Ops& ops) const {
  if (taken_.load(std::memory_order_relaxed) >= groups_) return false;
  const int begin = taken_.fetch_add(k_groups_at_a_time, std::memory_order_relaxed);
  const int end = std::min(groups_, begin + k_groups_at_a_time);
  if (begin >= end) return false;
  const int first = begin * ops.pack_rows;
  ops.pack(plain_, room_, first, std::min(end * ops.pack_rows, plain_.rows) - first);
  left_.fetch_sub(end - begin, std::memory_order_acq_rel);
  return true;
}

void Matrix::pack_rest(const Ops& ops, ThreadPool& pool) const {
  if (taken_.load(std::memory_order_relaxed) >= groups_) return;
  pool.parallel_for(pool.size(), 1, [&](int, int, int) {
    while (pack_some(ops)) continue;
  });
}

}  // namespace millrace
