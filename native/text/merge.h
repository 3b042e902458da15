#pragma once
// The merge loop that byte-pair encoding and the SentencePiece-style algorithm share: of all
// neighbours that can merge, the pair with the lowest key does, the leftmost of equals first.
// Threads: any; the working memory belongs to the caller.

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

namespace millrace {

struct Symbol {
  int32_t id;       // what the algorithm knows it by; -1: not known
  uint32_t begin;   // in the word
  uint32_t length;  // bytes; 0: merged into the one before
};

struct Merge {
  uint32_t key;    // lower merges first
  int32_t merged;  // id of the result; -1: these two do not merge
};

struct MergeWork {
  struct Waiting {
    uint64_t order;  // key << 32 | index of the left symbol
    uint32_t right;
    int32_t merged;
    uint32_t left_length, right_length;
    bool operator<(const Waiting& other) const { return order > other.order; }  // a min-heap
  };
  std::vector<Symbol> symbols;
  std::vector<uint32_t> previous, next;
  std::vector<Waiting> heap;
};

namespace merge_detail {

inline constexpr size_t k_short =
    128;  // up to it, looking for the lowest key is cheaper than a heap
inline constexpr uint32_t k_none = ~0u;

// The keys of all pairs by their left symbol, with the lowest of each block of them, so that
// finding the lowest of all looks at some 24 numbers. Kept with the sign turned: only signed
// numbers have a vector minimum in every x86-64.
class Keys {
 public:
  static constexpr size_t k_block = 16;
  explicit Keys(size_t n) : n_blocks_((n + k_block - 1) / k_block) {
    std::fill_n(keys_, n_blocks_ * k_block, k_highest);
    std::fill_n(lowest_, n_blocks_, k_highest);
  }
  void set(size_t i, uint32_t key) { keys_[i] = static_cast<int32_t>(key ^ 0x80000000u); }
  void refresh(size_t i) {  // after set, of one or more in a block
    const int32_t* keys = keys_ + i / k_block * k_block;
    int32_t lowest = k_highest;
    for (size_t k = 0; k < k_block; ++k) lowest = std::min(lowest, keys[k]);
    lowest_[i / k_block] = lowest;
  }
  // The leftmost of the lowest, or k_short when there is none.
  size_t lowest() const {
    size_t block = 0;
    for (size_t b = 1; b < n_blocks_; ++b)
      if (lowest_[b] < lowest_[block]) block = b;
    if (lowest_[block] == k_highest) return k_short;
    size_t i = block * k_block;
    while (keys_[i] != lowest_[block]) ++i;
    return i;
  }

 private:
  static constexpr int32_t k_highest = INT32_MAX;  // k_none
  int32_t keys_[k_short], lowest_[k_short / k_block];
  size_t n_blocks_;
};

// `symbols` shrinks to the result.
template <class FindMerge>
void merge_short(std::vector<Symbol>& symbols, const FindMerge& find_merge) {
  const size_t n = symbols.size();
  if (n < 2) return;
  Keys keys(n);
  int32_t merged[k_short];
  uint8_t previous[k_short], next[k_short];
  const auto consider = [&](size_t left, size_t right) {
    const Merge merge = find_merge(symbols[left], symbols[right]);
    merged[left] = merge.merged;
    keys.set(left, merge.merged < 0 ? k_none : std::min(merge.key, k_none - 1));
  };
  for (size_t i = 0; i < n; ++i) {
    previous[i] = static_cast<uint8_t>(i - 1);
    next[i] = static_cast<uint8_t>(i + 1);
    if (i + 1 < n) consider(i, i + 1);
  }
  for (size_t i = 0; i < n; i += Keys::k_block) keys.refresh(i);
  for (size_t left; (left = keys.lowest()) < k_short;) {
    const size_t right = next[left], after = next[right];
    symbols[left].id = merged[left];
    symbols[left].length += symbols[right].length;
    symbols[right].length = 0;
    next[left] = static_cast<uint8_t>(after);
    keys.set(right, k_none);
    keys.set(left, k_none);
    if (after < n) {
      previous[after] = static_cast<uint8_t>(left);
      consider(left, after);
    }
    if (left > 0) {
      consider(previous[left], left);
      keys.refresh(previous[left]);
    }
    keys.refresh(left);
    keys.refresh(right);
  }
  std::erase_if(symbols, [](const Symbol& symbol) { return symbol.length == 0; });
}

// A heap of pairs over a linked list of symbols: n log n for a word of n.
template <class FindMerge>
void merge_long(MergeWork& work, const FindMerge& find_merge) {
  auto& symbols = work.symbols;
  const auto n = static_cast<uint32_t>(symbols.size());
  work.previous.resize(n);
  work.next.resize(n);
  for (uint32_t i = 0; i < n; ++i) {
    work.previous[i] = i == 0 ? k_none : i - 1;
    work.next[i] = i + 1 < n ? i + 1 : k_none;
  }
  work.heap.clear();
  const auto consider = [&](uint32_t left, uint32_t right) {
    if (left == k_none || right == k_none) return false;
    const Merge merge = find_merge(symbols[left], symbols[right]);
    if (merge.merged < 0) return false;
    work.heap.push_back({(static_cast<uint64_t>(merge.key) << 32) | left, right, merge.merged,
                         symbols[left].length, symbols[right].length});
    return true;
  };
  for (uint32_t i = 0; i + 1 < n; ++i) consider(i, i + 1);
  std::make_heap(work.heap.begin(), work.heap.end());
  while (!work.heap.empty()) {
    std::pop_heap(work.heap.begin(), work.heap.end());
    const MergeWork::Waiting top = work.heap.back();
    work.heap.pop_back();
    const auto left = static_cast<uint32_t>(top.order);
    Symbol& into = symbols[left];
    Symbol& from = symbols[top.right];
    if (into.length != top.left_length || from.length != top.right_length) continue;
    into.id = top.merged;
    into.length += from.length;
    from.length = 0;
    const uint32_t after = work.next[top.right];
    work.next[left] = after;
    if (after != k_none) work.previous[after] = left;
    if (consider(work.previous[left], left)) std::push_heap(work.heap.begin(), work.heap.end());
    if (consider(left, after)) std::push_heap(work.heap.begin(), work.heap.end());
  }
  std::erase_if(symbols, [](const Symbol& symbol) { return symbol.length == 0; });
}

}  // namespace merge_detail

// Merges work.symbols until no pair merges. find_merge(left, right) returns a Merge.
template <class FindMerge>
void merge_all(MergeWork& work, const FindMerge& find_merge) {
  if (work.symbols.size() <= merge_detail::k_short)
    merge_detail::merge_short(work.symbols, find_merge);
  else
    merge_detail::merge_long(work, find_merge);
}

}  // namespace millrace
