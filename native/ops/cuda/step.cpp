#include "ops/cuda/step.h"

#include <algorithm>
#include <utility>

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

const AttentionPlan& Step::attention(Stream& stream, const Spans& spans, int group,
                                     bool wants_many) {
  if (attention_.pages && attended_ == spans && group_ == group && wants_many_ == wants_many)
    return attention_;
  std::vector<Tile> few, many;
  std::vector<int32_t> pages;
  attention_ = {};
  for (int i = 0; i < spans.n_spans; ++i) {
    const Span& span = spans.spans[i];
    const auto first_page = static_cast<int32_t>(pages.size());
    const int n_pages = divide_up(span.first_position + span.n_rows, spans.page_tokens);
    pages.insert(pages.end(), span.pages, span.pages + n_pages);
    const int end_line = span.n_rows * group;
    for (int line = 0; line < end_line;) {
      const bool is_many = wants_many && end_line - line > k_many_lines / 2;
      const int n_lines = std::min(is_many ? k_many_lines : k_lines, end_line - line);
      const int end = span.first_position + (line + n_lines - 1) / group + 1;
      const int n_ranges = divide_up(end, k_range);
      Tiles& tiles = is_many ? attention_.many : attention_.few;
      (is_many ? many : few)
          .push_back({span.first_row, span.first_position, line, n_lines, first_page, n_ranges,
                      tiles.all_ranges});
      tiles.all_ranges += n_ranges;
      tiles.n_ranges = std::max(tiles.n_ranges, n_ranges);
      line += n_lines;
    }
  }
  const auto stage = [&](std::vector<Tile>& from, Tiles& tiles) {
    fill_up(from, Tile{});
    tiles.of = staged(stream, from);
    tiles.n = static_cast<int>(from.size());
    return tiles.of || from.empty();
  };
  const int32_t* staged_pages = staged(stream, pages);
  if (stage(few, attention_.few) && stage(many, attention_.many)) attention_.pages = staged_pages;
  attended_ = spans;
  group_ = group;
  wants_many_ = wants_many;
  return attention_;
}

bool Step::takes_rounded(Stream& stream, const float* rows) {
  const float* left = std::exchange(rounded_, nullptr);
  if (left && left != rows)
    stream.fail(error(ErrorCode::internal, "another product came before the one that was told of"));
  return left == rows;
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
