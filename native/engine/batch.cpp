#include "engine/batch.h"

namespace millrace {

bool wants_output(const Sequence& sequence, int position) {
  const bool is_last = position + 1 == sequence.n_tokens();
  return sequence.is_score() ? !is_last || sequence.request.score_top > 0 : is_last;
}

void Batch::clear() {
  copies.clear();
  tokens.clear();
  positions.clear();
  spans.clear();
  sequences.clear();
  output_rows.clear();
  outputs.clear();
}

void Batch::add(Sequence& sequence, int n_rows) {
  const int first = sequence.n_computed;
  spans.push_back({n(), n_rows, first, sequence.table.pages.data()});
  sequences.push_back(&sequence);
  for (int position = first; position < first + n_rows; ++position) {
    if (wants_output(sequence, position)) {
      output_rows.push_back(n());
      outputs.push_back({&sequence, position});
    }
    tokens.push_back(sequence.tokens[static_cast<size_t>(position)]);
    positions.push_back(position);
  }
}

}  // namespace millrace
