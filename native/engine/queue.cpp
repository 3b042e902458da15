#include "engine/queue.h"

namespace millrace {

namespace {

double rank_of(const Sequence& sequence) {
  return sequence.submitted_ms + k_handicap_ms[static_cast<int>(sequence.request.priority)];
}

}  // namespace

bool goes_before(const Sequence& a, const Sequence& b) {
  const double rank_a = rank_of(a), rank_b = rank_of(b);
  return rank_a < rank_b || (rank_a == rank_b && a.arrival < b.arrival);
}

}  // namespace millrace
