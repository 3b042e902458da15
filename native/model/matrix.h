#pragma once
// A weight matrix whose packed form may come after the plain one, so that opening an engine does
// not wait for it: products are the same bits with either, so nobody sees the change. Who packs: a
// step that only continues answers (its time is the time of reading weights), and PackLater, a
// thread beside everything else. A step with prompts takes what is there. Threads: any, once set.
// Whoever claims a matrix packs it; others read the plain form until then.

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "ops/ops.h"

namespace millrace {

class ThreadPool;

class Matrix {
 public:
  // For good.
  void set(const Weight& weight) { plain_ = weight; }
  // `plain` until it is packed into `room`, of Ops::packed_bytes.
  void set(const Weight& plain, void* room) {
    plain_ = plain;
    room_ = room;
  }

  bool is_to_be_packed() const { return room_ && state_.load() == State::plain; }

  // The best form there is now.
  Weight now() const;

  // Packs it with the pool's workers, unless somebody has begun. Called by the pool's owner.
  void pack(const Ops& ops, ThreadPool& pool) const;
  // The same by the calling thread alone; gives up, for good, when `stopped` turns true.
  void pack(const Ops& ops, const std::atomic<bool>& stopped) const;

 private:
  enum class State : uint8_t { plain, claimed, packed };
  bool claim() const;
  int groups(const Ops& ops) const { return (plain_.rows + ops.pack_rows - 1) / ops.pack_rows; }
  void pack_groups(const Ops& ops, int begin, int end) const;

  Weight plain_;
  void* room_ = nullptr;  // null: nothing is to be packed
  mutable std::atomic<State> state_ = State::plain;
};

// Packs matrices one after the other, at low priority, until it is done or destroyed. Without a
// thread, which a system may refuse, steps do it all.
class PackLater {
 public:
  // The matrices outlive this object. `done`, which may be empty, is called at the end of the list.
  PackLater(const Ops& ops, std::vector<const Matrix*> matrices, std::function<void()> done);
  ~PackLater();
  PackLater(const PackLater&) = delete;
  PackLater& operator=(const PackLater&) = delete;

 private:
  std::atomic<bool> stopped_ = false;
  std::thread thread_;
};

}  // namespace millrace
