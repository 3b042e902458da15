#include "text/token-table.h"

#include <bit>
#include <cstdio>

namespace millrace {

void TextIndex::grow(const StringArena& arena, size_t slots) {
  std::vector<Slot> old(slots);
  old.swap(slots_);
  mask_ = slots - 1;
  used_ = 0;
  for (const Slot& slot : old)
    if (slot.index >= 0) insert(arena, slot.index);
}

void TextIndex::insert(const StringArena& arena, int32_t index, uint64_t hash) {
  if (slots_.size() < (used_ + 1) * 2) grow(arena, std::bit_ceil((used_ + 1) * 2 + 16));
  const std::string_view text = arena.at(index);
  const auto tag = static_cast<uint32_t>(hash >> 32);
  size_t at = hash & mask_;
  for (; slots_[at].index >= 0; at = (at + 1) & mask_) {
    if (slots_[at].tag != tag || arena.at(slots_[at].index) != text) continue;
    slots_[at].index = index;
    return;
  }
  slots_[at] = {tag, index};
  ++used_;
}

// Every insertion misses the caches, so each is asked for some insertions before.
void TextIndex::insert_all(const StringArena& arena) {
  constexpr int k_ahead = 16;
  uint64_t hashes[k_ahead];
  const int n = arena.size();
  if (slots_.empty()) grow(arena, std::bit_ceil(static_cast<size_t>(n) * 2 + 16));
  for (int i = 0; i < n + k_ahead; ++i) {
    uint64_t& hash = hashes[i % k_ahead];
    if (const int index = i - k_ahead; index >= 0 && !arena.at(index).empty())
      insert(arena, index, hash);
    if (i >= n) continue;
    hash = hash_bytes(arena.at(i));
    prefetch(hash);
  }
}

void TokenTable::reserve(size_t n, size_t bytes) {
  texts_.reserve(n, bytes);
  scores_.reserve(n);
  attributes_.reserve(n);
}

void TokenTable::push(std::string_view text, float score, uint16_t attributes) {
  texts_.push(text);
  scores_.push_back(score);
  attributes_.push_back(attributes);
}

int32_t TokenTable::find_byte(uint8_t byte) const {
  char text[8];
  std::snprintf(text, sizeof text, "<0x%02X>", byte);
  return find(text);
}

}  // namespace millrace
