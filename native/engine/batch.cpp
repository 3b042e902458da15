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

void Batch::add_ahead(Sequence& sequence, int output) {
  const int position = sequence.n_tokens();
  spans.push_back({n(), 1, position, sequence.table.pages.data()});
  sequences.push_back(&sequence);
  output_rows.push_back(n());
  outputs.push_back({&sequence, position});
  tokens.push_back(~output);
  positions.push_back(position);
}

void Batch::forget(const Sequence& sequence) {
  for (Sequence*& one : sequences)
    if (one == &sequence) one = nullptr;
  for (BatchOutput& output : outputs)
    if (output.sequence == &sequence) output.sequence = nullptr;
}

}  // namespace millrace
