#pragma once
// Which requests can be served at all, decided before they wait.
// Threads: engine thread only.

#include <vector>

#include "base/result.h"
#include "engine/sequence.h"

namespace millrace {

// What one engine offers.
struct Limits {
  int max_sequences = 1;  // running at once
  int step_tokens = 1;    // rows of one step
  int max_outputs = 1;    // rows of logits of one step, at least max_sequences
  int context = 1;        // tokens of one sequence
  int vocab_size = 1;
  std::vector<int32_t> end_tokens;
};

// Refuses what could never be served, else fills in what follows from the request: n_prompt,
// max_output, scope, counts. sequence.tokens holds the prompt.
Status admit(Sequence& sequence, const Limits& limits, const KvCache& cache);

}  // namespace millrace
