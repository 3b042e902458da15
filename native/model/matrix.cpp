#include "model/matrix.h"

#include <algorithm>
#include <system_error>

#include "base/thread-pool.h"
#include "base/thread.h"

namespace millrace {

namespace {
constexpr int k_groups_at_a_time = 16;  // between two looks at `stopped`: under a millisecond
}

Weight Matrix::now() const {
  if (state_.load(std::memory_order_acquire) != State::packed) return plain_;
  return {plain_.dtype, Weight::Layout::packed, plain_.rows, plain_.cols, 0, room_};
}

bool Matrix::claim() const {
  State expected = State::plain;
  return room_ && state_.compare_exchange_strong(expected, State::claimed);
}

void Matrix::pack_groups(const Ops& ops, int begin, int end) const {
  const int first = begin * ops.pack_rows;
  ops.pack(plain_, room_, first, std::min(end * ops.pack_rows, plain_.rows) - first);
}

void Matrix::pack(const Ops& ops, ThreadPool& pool) const {
  if (!is_to_be_packed() || !claim()) return;
  pool.parallel_for(groups(ops), 4, [&](int begin, int end, int) { pack_groups(ops, begin, end); });
  state_.store(State::packed, std::memory_order_release);
}

void Matrix::pack(const Ops& ops, const std::atomic<bool>& stopped) const {
  if (!claim()) return;
  const int n = groups(ops);
  for (int group = 0; group < n; group += k_groups_at_a_time) {
    if (stopped.load(std::memory_order_relaxed)) return;
    pack_groups(ops, group, std::min(n, group + k_groups_at_a_time));
  }
  state_.store(State::packed, std::memory_order_release);
}

PackLater::PackLater(const Ops& ops, std::vector<const Matrix*> matrices,
                     std::function<void()> done) {
  try {
    thread_ = std::thread([this, &ops, matrices = std::move(matrices), done = std::move(done)] {
      begin_background_thread("millrace-pack");
      for (const Matrix* matrix : matrices) {
        if (stopped_.load(std::memory_order_relaxed)) return;
        matrix->pack(ops, stopped_);
      }
      if (done) done();
    });
  } catch (const std::system_error&) {
  }
}

PackLater::~PackLater() {
  stopped_ = true;
  if (thread_.joinable()) thread_.join();
}

}  // namespace millrace
