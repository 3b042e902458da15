#include "text/codepoint-set.h"

#include <algorithm>

namespace millrace {

void CodepointSet::add(uint32_t first, uint32_t last) { ranges.emplace_back(first, last); }

void CodepointSet::add_all(const CodepointSet& other) {
  ranges.insert(ranges.end(), other.ranges.begin(), other.ranges.end());
}

void CodepointSet::normalize() {
  std::sort(ranges.begin(), ranges.end());
  std::vector<std::pair<uint32_t, uint32_t>> merged;
  for (const auto& [first, last] : ranges) {
    if (!merged.empty() && first <= merged.back().second + 1)
      merged.back().second = std::max(merged.back().second, last);
    else
      merged.emplace_back(first, last);
  }
  ranges = std::move(merged);
}

CodepointSet CodepointSet::inverted() const {
  CodepointSet out;
  uint32_t next = 0;
  for (const auto& [first, last] : ranges) {
    if (first > next) out.add(next, first - 1);
    next = last + 1;
  }
  if (next < k_codepoint_limit) out.add(next, k_codepoint_limit - 1);
  out.end = !end;
  return out;
}

CodepointSet category_set(Category category) {
  CodepointSet set;
  const auto table = category_table();
  for (size_t i = 0; i < table.size(); ++i) {
    if (static_cast<Category>(table[i] & 0xFF) != category) continue;
    set.add(table[i] >> 8, i + 1 < table.size() ? (table[i + 1] >> 8) - 1 : k_codepoint_limit - 1);
  }
  if (category == Category::symbol) {
    CodepointSet without = set.inverted();
    without.add('~', '~');
    without.normalize();
    set = without.inverted();
    set.end = false;
  }
  return set;
}

CodepointSet whitespace_set() {
  CodepointSet set;
  for (const uint32_t codepoint : whitespace_table()) set.add(codepoint, codepoint);
  set.normalize();
  return set;
}

}  // namespace millrace
