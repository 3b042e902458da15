#pragma once
// What a kernel starts and does not wait for.

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace millrace::simt {

using Work = std::function<void()>;

// Work in committed groups; it may end at any time until somebody waits for it.
class Queue {
 public:
  void add(Work work) { open_.push_back(std::move(work)); }
  void commit() { groups_.push_back(std::exchange(open_, {})); }
  // Ends the oldest groups until `left` are under way.
  void wait(size_t left) {
    for (; groups_.size() > left; groups_.erase(groups_.begin())) end(groups_.front());
  }
  // Ends all of it. The groups stay in the list, for waits count them.
  void end_all() {
    for (auto& group : groups_) end(group);
    end(open_);
  }
  void clear() {
    groups_.clear();
    open_.clear();
  }

 private:
  static void end(std::vector<Work>& group) {
    for (const Work& work : std::exchange(group, {})) work();
  }
  std::vector<std::vector<Work>> groups_;  // committed, oldest first
  std::vector<Work> open_;
};

// An mbarrier (PTX ISA 8.7, section 9.7.13.15), as it lies in shared memory. A phase ends when as
// many have arrived as were announced and as many bytes have come as were expected.
struct Phase {
  static constexpr uint16_t k_unknown = 0xffff;  // what shared memory starts as

  uint16_t arrivals, missing;
  uint32_t bytes : 31, parity : 1;  // of the phase under way

  void end_if_complete() {
    if (missing > 0 || bytes > 0) return;
    missing = arrivals;
    parity ^= 1u;
  }
};
static_assert(sizeof(Phase) == sizeof(uint64_t));

// A copy that counts towards a phase.
struct BulkCopy {
  char* to;
  const char* from;
  uint32_t size_bytes;
  Phase* phase;
};

}  // namespace millrace::simt
