#pragma once
// Who goes first: priority, then arrival, with aging. A request ranks as if it had arrived later by
// its priority's handicap, so that a batch request that has waited long enough precedes every
// newcomer and nobody starves. The rank never changes, so the order needs no upkeep. Threads:
// engine thread only.

#include <set>

#include "engine/sequence.h"

namespace millrace {

inline constexpr double k_handicap_ms[] = {0, 10'000, 60'000};  // by Priority

// Total: two live sequences never rank equal.
bool goes_before(const Sequence& a, const Sequence& b);

// The waiting sequences in order. Called WaitingQueue because Queue is a device's queue of work.
class WaitingQueue {
 public:
  struct Before {
    bool operator()(const Sequence* a, const Sequence* b) const { return goes_before(*a, *b); }
  };
  using Order = std::set<Sequence*, Before>;

  void push(Sequence& sequence) { order_.insert(&sequence); }
  void remove(Sequence& sequence) { order_.erase(&sequence); }
  int size() const { return static_cast<int>(order_.size()); }
  Order::const_iterator begin() const { return order_.begin(); }
  Order::const_iterator end() const { return order_.end(); }

 private:
  Order order_;
};

}  // namespace millrace
