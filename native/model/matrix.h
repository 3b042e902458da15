#pragma once
// A weight matrix whose packed form may come after the plain one, so that opening an engine does
// not wait for it: products are the same bits with either, so nobody sees the change. A step that
// only continues answers packs what it meets, so the first such step pays for all that is left;
// steps with prompts take what is there, and a Packer goes on beside everything else. Threads: any,
// once set. Rows are handed out in ranges, so that several may pack one matrix.

#include <atomic>

#include "ops/ops.h"

namespace millrace {

class ThreadPool;

class Matrix {
 public:
  // For good.
  void set(const Weight& weight) { plain_ = weight; }
  // `plain` until it is packed by `ops` into `room`, of size_bytes.
  void set(const Weight& plain, const Ops& ops, void* room, size_t size_bytes);

  // The best form there is now.
  Weight now() const;
  size_t bytes_to_pack() const { return is_packed() ? 0 : room_bytes_; }

  // Packs a range that nobody has taken; false when there is none.
  bool pack_some(const Ops& ops) const;
  // Packs what nobody has taken, with the pool's workers; called by the pool's owner.
  void pack_rest(const Ops& ops, ThreadPool& pool) const;

 private:
  bool is_packed() const { return left_.load(std::memory_order_acquire) == 0; }

  Weight plain_;
  void* room_ = nullptr;
  size_t room_bytes_ = 0;
  int groups_ = 0;                      // of Ops::pack_rows rows
  mutable std::atomic<int> taken_ = 0;  // groups handed out, from the first on
  mutable std::atomic<int> left_ = 0;   // groups that are not packed yet
};

}  // namespace millrace
