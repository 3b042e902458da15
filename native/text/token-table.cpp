#include "text/token-table.h"

#include <bit>
#include <cstdio>

namespace millrace {

void TextIndex::reserve(size_t n) {
  if (slots_.empty()) {
    slots_.assign(std::bit_ceil(n * 2 + 16), Slot());
    mask_ = slots_.size() - 1;
  }
}

void TextIndex::grow(const StringArena& arena, size_t slots) {
  std::vector<Slot> old(slots);
  old.swap(slots_);
  mask_ = slots - 1;
  used_ = 0;
  for (const Slot& slot : old)
    if (slot.index >= 0) insert(arena, slot.index);
}

void TextIndex::insert(const StringArena& arena, int32_t index) {
  if (slots_.size() < (used_ + 1) * 2) grow(arena, std::bit_ceil((used_ + 1) * 2 + 16));
  const std::string_view text = arena.at(index);
  const uint64_t hash = hash_bytes(text);
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

void TokenTable::reserve(size_t n, size_t bytes) {
  texts_.reserve(n, bytes);
  scores_.reserve(n);
  attributes_.reserve(n);
  index_.reserve(n);
}

void TokenTable::push(std::string_view text, float score, uint16_t attributes) {
  texts_.push(text);
  scores_.push_back(score);
  attributes_.push_back(attributes);
  index_.insert(texts_, size() - 1);
}

int32_t TokenTable::find_byte(uint8_t byte) const {
  char text[8];
  std::snprintf(text, sizeof text, "<0x%02X>", byte);
  return find(text);
}

}  // namespace millrace
