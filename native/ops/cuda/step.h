#pragma once
// What the operators of one step share: the arrays that come from the host, copied once, and its
// spans cut up for attention and for the cache. Host code, in no need of CUDA.
// Tiles and slots are filled up to one of few numbers, see rounded_up.
// Invariant: everything here is forgotten when the step ends, until when ops.h lets operators read
// the host's arrays. Threads: as Stream.

#include <cstdint>
#include <vector>

#include "ops/ops.h"

namespace millrace::cuda {

class Stream;

constexpr int divide_up(int64_t n, int by) { return static_cast<int>((n + by - 1) / by); }

constexpr int k_lines = 16;       // of a tile: a query head of one token is a line
constexpr int k_many_lines = 64;  // of a tile of many
constexpr int k_range = 128;      // positions whose softmax is summed apart

// Up to k_lines or k_many_lines lines of one sequence under one kv head. Line l of a span belongs
// to token l / group and to query head l % group of the kv head.
struct Tile {
  int32_t first_row;       // of the span, in the batch
  int32_t first_position;  // of the span
  int32_t first_line;      // of the tile, in the span
  int32_t n_lines;
  int32_t first_page;   // of the span, in the page table
  int32_t n_ranges;     // that its last line sees; 0: the tile is none
  int32_t first_range;  // of all tiles' ranges, one after another
};

// In device memory, as long as the step lasts.
struct Tiles {
  const Tile* of = nullptr;
  int n = 0;
  int n_ranges = 0;    // of the longest tile
  int all_ranges = 0;  // of all tiles
};
struct AttentionPlan {
  const int32_t* pages = nullptr;  // null after an error, or when there is nothing to do
  Tiles few, many;                 // of up to k_lines, of up to k_many_lines
};

// Where one row of the batch goes; row -1: there is none.
struct Slot {
  int32_t row, page, slot;
};
struct StorePlan {
  const Slot* slots = nullptr;  // likewise
  int n_slots = 0;
  int n_rows = 0;           // of the batch, the first slots'
  bool is_in_order = true;  // slot i is of row i
};

struct Spans {
  const Span* spans;
  int n_spans;
  int page_tokens;
  bool operator==(const Spans&) const = default;
};

class Step {
 public:
  // The device's copy of a host array; null after an error.
  const void* array(Stream& stream, const void* from, size_t size_bytes);
  // Without tiles of many lines where they are not wanted.
  const AttentionPlan& attention(Stream& stream, const Spans& spans, int group, bool wants_many);
  const StorePlan& store(Stream& stream, const Spans& spans);
  // Whether rows lie in the form of a product of bf16, see prepare.h: said by who left them so, and
  // asked once, by who reads them.
  void left_rounded(const float* rows) { rounded_ = rows; }
  bool takes_rounded(Stream& stream, const float* rows);
  void forget() { *this = Step(); }

 private:
  struct Copy {
    const void* from;
    size_t size_bytes;
    const void* staged;
  };
  std::vector<Copy> copies_;
  Spans attended_{}, stored_{};
  int group_ = 0;
  bool wants_many_ = false;
  const float* rounded_ = nullptr;
  AttentionPlan attention_;
  StorePlan store_;
};

}  // namespace millrace::cuda
