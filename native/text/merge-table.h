#pragma once
// The merges of byte-pair encoding by the pair that they merge.
// Threads: any once built.

#include <bit>
#include <cstdint>
#include <vector>

#include "text/merge.h"
#include "text/token-table.h"

namespace millrace {

// (left, right) -> rank and result, open addressing. Most pairs are not there, which a bit per hash
// says from a nearer cache than megabytes of slots.
class MergeTable {
 public:
  explicit MergeTable(size_t n)
      : slots_(std::bit_ceil(n * 2 + 16)), mask_(slots_.size() - 1), bits_(slots_.size() / 16) {}

  // Asks for the memory that insert() will look at.
  void prefetch(int32_t left, int32_t right) const {
    prefetch_memory(slots_.data() + place(hash_of(key_of(left, right))));
  }
  // The first of equal pairs stays.
  void insert(int32_t left, int32_t right, Merge merge) {
    const uint64_t key = key_of(left, right);
    const uint64_t hash = hash_of(key);
    bits_[bit_of(hash) / 64] |= uint64_t{1} << (bit_of(hash) % 64);
    size_t at = place(hash);
    while (slots_[at].key != k_empty && slots_[at].key != key) at = (at + 1) & mask_;
    if (slots_[at].key == k_empty) slots_[at] = {key, merge};
  }

  Merge find(int32_t left, int32_t right) const {  // merged -1: these two do not merge
    const uint64_t key = key_of(left, right);
    const uint64_t hash = hash_of(key);
    if ((bits_[bit_of(hash) / 64] >> (bit_of(hash) % 64) & 1) == 0) return {0, -1};
    for (size_t at = place(hash);; at = (at + 1) & mask_) {
      if (slots_[at].key == key) return slots_[at].merge;
      if (slots_[at].key == k_empty) return {0, -1};
    }
  }

  // each(left, right, merge) for all of them, in no order.
  template <class Each>
  void for_each(const Each& each) const {
    for (const Slot& slot : slots_)
      if (slot.key != k_empty)
        each(static_cast<int32_t>(slot.key >> 32), static_cast<int32_t>(slot.key), slot.merge);
  }

 private:
  static constexpr uint64_t k_empty = ~uint64_t{0};
  struct Slot {
    uint64_t key = k_empty;
    Merge merge{0, -1};
  };
  static uint64_t key_of(int32_t left, int32_t right) {
    return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) |
           static_cast<uint32_t>(right);
  }
  static uint64_t hash_of(uint64_t key) { return (key ^ (key >> 29)) * 0x9E3779B97F4A7C15u; }
  size_t place(uint64_t hash) const { return (hash >> 20) & mask_; }
  size_t bit_of(uint64_t hash) const { return (hash >> 18) & (mask_ << 2 | 3); }
  std::vector<Slot> slots_;
  size_t mask_;
  std::vector<uint64_t> bits_;  // four per slot
};

}  // namespace millrace
