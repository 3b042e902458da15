#include "ops/cuda/step.h"

#include <algorithm>

#include "ops/cuda/stream.h"
#include "ops/plugin.h"

namespace millrace::cuda {
namespace {

template <class T>
void fill_up(std::vector<T>& values, const T& none) {
  values.resize(static_cast<size_t>(rounded_up(static_cast<int>(values.size()))), none);
}

template <class T>
const T* staged(Stream& stream, const std::vector<T>& values) {
  if (values.empty()) return nullptr;
  return static_cast<const T*>(stream.stage(values.data(), values.size() * sizeof(T)));
}

}  // namespace

const void* Step::array(Stream& stream, const void* from, size_t size_bytes) {
  for (const Copy& copy : copies_)
    if (copy.from == from && copy.size_bytes == size_bytes) return copy.staged;
  const void* copy = stream.stage(from, size_bytes);
  if (copy) copies_.push_back({from, size_bytes, copy});
  return copy;
}

const AttentionPlan& Step::attention(Stream& stream, const Spans& spans, int group) {
  if (attention_.tiles && attended_ == spans && group_ == group) return attention_;
  std::vector<Tile> tiles;
  std::vector<int32_t> pages;
  attention_ = {};
  for (int i = 0; i < spans.n_spans; ++i) {
    const Span& span = spans.spans[i];
    const auto first_page = static_cast<int32_t>(pages.size());
    const int n_pages = divide_up(span.first_position + span.n_rows, spans.page_tokens);
    pages.insert(pages.end(), span.pages, span.pages + n_pages);
    for (int line = 0; line < span.n_rows * group; line += k_lines) {
      const int n_lines = std::min(k_lines, span.n_rows * group - line);
      const int end = span.first_position + (line + n_lines - 1) / group + 1;
      const int n_ranges = divide_up(end, k_range);
      tiles.push_back({span.first_row, span.first_position, line, n_lines, first_page, n_ranges,
                       attention_.all_ranges});
      attention_.all_ranges += n_ranges;
      attention_.n_ranges = std::max(attention_.n_ranges, n_ranges);
    }
  }
  fill_up(tiles, Tile{});
  attention_.pages = staged(stream, pages);
  attention_.tiles = attention_.pages ? staged(stream, tiles) : nullptr;
  attention_.n_tiles = static_cast<int>(tiles.size());
  attended_ = spans;
  group_ = group;
  return attention_;
}

const StorePlan& Step::store(Stream& stream, const Spans& spans) {
  if (store_.slots && stored_ == spans) return store_;
  std::vector<Slot> slots;
  for (int i = 0; i < spans.n_spans; ++i) {
    const Span& span = spans.spans[i];
    for (int row = 0; row < span.n_rows; ++row) {
      const int position = span.first_position + row;
      slots.push_back({span.first_row + row, span.pages[position / spans.page_tokens],
                       position % spans.page_tokens});
    }
  }
  const auto n_rows = static_cast<int>(slots.size());
  bool is_in_order = true;
  for (int i = 0; i < n_rows; ++i) is_in_order &= slots[static_cast<size_t>(i)].row == i;
  fill_up(slots, {-1, 0, 0});
  store_ = {staged(stream, slots), static_cast<int>(slots.size()), n_rows, is_in_order};
  stored_ = spans;
  return store_;
}

}  // namespace millrace::cuda
