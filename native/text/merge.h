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

inline constexpr size_t k_short = 48;  // below it a scan of all pairs is cheaper than a heap
inline constexpr uint32_t k_none = ~0u;

// Scans all pairs for each merge. `symbols` shrinks to the result.
template <class FindMerge>
void merge_short(std::vector<Symbol>& symbols, const FindMerge& find_merge) {
  Merge pairs[k_short];
  size_t n = symbols.size();
  for (size_t i = 0; i + 1 < n; ++i) pairs[i] = find_merge(symbols[i], symbols[i + 1]);
  while (true) {
    size_t best = n;
    uint32_t key = k_none;
    for (size_t i = 0; i + 1 < n; ++i)
      if (pairs[i].merged >= 0 && (best == n || pairs[i].key < key)) {
        best = i;
        key = pairs[i].key;
      }
    if (best == n) break;
    symbols[best].id = pairs[best].merged;
    symbols[best].length += symbols[best + 1].length;
    --n;
    for (size_t i = best + 1; i < n; ++i) symbols[i] = symbols[i + 1];
    for (size_t i = best + 1; i + 1 < n; ++i) pairs[i] = pairs[i + 1];
    if (best > 0) pairs[best - 1] = find_merge(symbols[best - 1], symbols[best]);
    if (best + 1 < n) pairs[best] = find_merge(symbols[best], symbols[best + 1]);
  }
  symbols.resize(n);
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
