#pragma once
// The work of one step: rows of several sequences, packed as forward() wants them.
// Invariant: spans, sequences and their rows are in the same order; page pointers stay valid until
// the scheduler's next call. Sequences may end while a step that has rows of them is on its way:
// they are null then, in `sequences` and in `outputs`.
// Threads: engine thread only.

#include <cstdint>
#include <vector>

#include "engine/sequence.h"
#include "ops/ops.h"

namespace millrace {

// A row whose logits are wanted: to draw the token after it, or to appraise the known one.
struct BatchOutput {
  Sequence* sequence;
  int position;  // of the row
};

// A page whose first positions another one is going to have too.
struct PageCopy {
  PageId from, to;
};

struct Batch {
  std::vector<PageCopy> copies;  // in order, before anything else: later ones may read earlier ones
  // [n]; a token below 0 is the one that output ~token of the step before is going to draw.
  std::vector<int32_t> tokens, positions;
  std::vector<Span> spans;
  std::vector<Sequence*> sequences;  // per span
  std::vector<int32_t> output_rows;  // rising
  std::vector<BatchOutput> outputs;  // per output row

  int n() const { return static_cast<int>(tokens.size()); }
  bool empty() const { return tokens.empty(); }
  void clear();
  // The next n_rows positions of a sequence that has the pages for them.
  void add(Sequence& sequence, int n_rows);
  // The position after its last token, which output `output` of the step before is going to draw.
  void add_ahead(Sequence& sequence, int output);
  // Its rows are computed to no end.
  void forget(const Sequence& sequence);
};

// Whether the logits at a position of this sequence are wanted.
bool wants_output(const Sequence& sequence, int position);

}  // namespace millrace
