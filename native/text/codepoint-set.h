#pragma once
// Sets of code points as ranges: what a class of a regular expression stands for.
// Threads: plain values.

#include <cstdint>
#include <utility>
#include <vector>

#include "base/utf8.h"

namespace millrace {

// Sorted disjoint ranges [first, last] of code points; `end` says whether the end of the text
// belongs too (lookahead only).
struct CodepointSet {
  std::vector<std::pair<uint32_t, uint32_t>> ranges;
  bool end = false;

  void add(uint32_t first, uint32_t last);  // in any order; call normalize() after the last
  void add_all(const CodepointSet& other);
  void normalize();
  CodepointSet inverted() const;  // of the code points; flips `end` too
};

// All of a major category. Symbols go without "~": the reference leaves it out.
CodepointSet category_set(Category category);
CodepointSet whitespace_set();

}  // namespace millrace
