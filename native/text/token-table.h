#pragma once
// The tokens' texts in one arena, their attributes, and the index from text to id.
// Invariant: immutable once built; ids are 0..size()-1; of two tokens with the same text the later
// is found.
// Threads: any (immutable).

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace millrace {

inline void prefetch_memory(const void* address) {
#if defined(__GNUC__)
  __builtin_prefetch(address);
#else
  (void)address;
#endif
}

// Strings laid end to end, found by index.
class StringArena {
 public:
  void reserve(size_t strings, size_t bytes) {
    starts_.reserve(strings + 1);
    bytes_.reserve(bytes);
  }
  void push(std::string_view text) {
    bytes_.insert(bytes_.end(), text.begin(), text.end());
    starts_.push_back(static_cast<uint32_t>(bytes_.size()));
  }
  int size() const { return static_cast<int>(starts_.size()) - 1; }
  std::string_view at(int index) const {
    const auto i = static_cast<size_t>(index);
    return {bytes_.data() + starts_[i], starts_[i + 1] - starts_[i]};
  }

 private:
  std::vector<char> bytes_;
  std::vector<uint32_t> starts_{0};
};

// Hash of bytes, for tables in this process only.
inline uint64_t hash_bytes(std::string_view text) {
  uint64_t hash = text.size() * 0x9E3779B97F4A7C15u;
  const auto mix = [&](uint64_t word) {
    hash = (hash ^ word) * 0xD6E8FEB86659FD93u;
    hash ^= hash >> 32;
  };
  const char* data = text.data();
  size_t left = text.size();
  for (; left >= 8; data += 8, left -= 8) {
    uint64_t word;
    std::memcpy(&word, data, 8);
    mix(word);
  }
  uint64_t word = 0;
  for (size_t i = 0; i < left; ++i) word = (word << 8) | static_cast<uint8_t>(data[i]);
  mix(word);
  return hash ^ (hash >> 29);
}

// Open addressing from text to an index whose text the caller's arena holds.
class TextIndex {
 public:
  // The text must already be in the arena at `index`; replaces an equal text's index.
  void insert(const StringArena& arena, int32_t index) {
    insert(arena, index, hash_bytes(arena.at(index)));
  }
  // Every text of the arena but the empty ones, in order.
  void insert_all(const StringArena& arena);
  // Asks for the memory that find() will look at.
  void prefetch(uint64_t hash) const { prefetch_memory(slots_.data() + (hash & mask_)); }
  int32_t find(const StringArena& arena, std::string_view text) const {  // -1: absent
    return find(arena, text, hash_bytes(text));
  }
  int32_t find(const StringArena& arena, std::string_view text, uint64_t hash) const {
    if (slots_.empty()) return -1;
    const auto tag = static_cast<uint32_t>(hash >> 32);
    for (size_t at = hash & mask_; slots_[at].index >= 0; at = (at + 1) & mask_)
      if (slots_[at].tag == tag && arena.at(slots_[at].index) == text) return slots_[at].index;
    return -1;
  }

 private:
  struct Slot {
    uint32_t tag = 0;
    int32_t index = -1;
  };
  void insert(const StringArena& arena, int32_t index, uint64_t hash);
  void grow(const StringArena& arena, size_t slots);
  std::vector<Slot> slots_;
  size_t mask_ = 0, used_ = 0;
};

enum TokenAttributes : uint16_t {
  k_token_normal = 1,
  k_token_unknown = 2,
  k_token_control = 4,
  k_token_user_defined = 8,
  k_token_unused = 16,
  k_token_byte = 32,
  k_token_left_strip = 64,    // swallows white space before it
  k_token_right_strip = 128,  // and after it
};

class TokenTable {
 public:
  void reserve(size_t n, size_t bytes);
  void push(std::string_view text, float score, uint16_t attributes);
  void index() { index_.insert_all(texts_); }  // after the last push, before find

  int size() const { return texts_.size(); }
  bool contains(int32_t id) const { return id >= 0 && id < size(); }
  std::string_view text(int32_t id) const { return texts_.at(id); }
  float score(int32_t id) const { return scores_[static_cast<size_t>(id)]; }
  bool has(int32_t id, int attributes) const {
    return (attributes_[static_cast<size_t>(id)] & attributes) != 0;
  }
  void add(int32_t id, int attributes) { attributes_[static_cast<size_t>(id)] |= attributes; }
  void set(int32_t id, int attributes) {
    attributes_[static_cast<size_t>(id)] = static_cast<uint16_t>(attributes);
  }
  void remove(int32_t id, int attributes) { attributes_[static_cast<size_t>(id)] &= ~attributes; }

  int32_t find(std::string_view text) const { return find(text, hash_bytes(text)); }  // -1: none
  int32_t find(std::string_view text, uint64_t hash) const {
    return index_.find(texts_, text, hash);
  }
  void prefetch(uint64_t hash) const { index_.prefetch(hash); }
  int32_t find_byte(uint8_t byte) const;  // the token "<0xNN>", -1: none

 private:
  StringArena texts_;
  std::vector<float> scores_;
  std::vector<uint16_t> attributes_;
  TextIndex index_;
};

}  // namespace millrace
