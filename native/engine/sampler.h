#pragma once
// From a row of logits to a token: a chain of steps, each a row of one table. What a row yields is
// a function of its logits, the request and the position alone. Threads: draw_token on pool
// workers, one Scratch each; the rest on the engine thread.

#include <cstdint>
#include <utility>
#include <vector>

#include "base/result.h"
#include "engine/logits.h"
#include "engine/request.h"

namespace millrace {

// How often a token occurred in a sequence: what penalties look at.
struct TokenCount {
  int32_t token;
  int32_t in_output;
};

// The distinct tokens of one sequence, by token.
class TokenCounts {
 public:
  void add_prompt(const int32_t* tokens, int n);
  void add_output(int32_t token);
  const std::vector<TokenCount>& all() const { return counts_; }

 private:
  std::vector<TokenCount> counts_;
};

// What is asked of one row.
struct Wanted {
  const Sampling* sampling;
  const TokenCounts* counts;  // null: no penalties
  uint64_t position;          // of the token to be drawn
  int n_top = 0;              // log-probabilities of so many best are wanted
  bool is_score = false;      // nothing is drawn; the log-probability of target is told
  int32_t target = -1;        // -1: none
};

struct DrawInput {
  float* logits;  // [vocab_size], changed in place
  int vocab_size;
  Wanted wanted;
};

// What was found out about one row.
struct Draw {
  int32_t token = -1;
  TokenLogprob chosen{-1, 0.0f};  // when log-probabilities were asked for
  std::vector<TokenLogprob> top;
  Status status;  // not ok: the row cannot be used
};

// Working memory of one worker.
struct Scratch {
  std::vector<Candidate> kept;
  std::vector<Candidate> original;  // logits before bias and penalties, in order of change
};

bool needs_counts(const Sampling& sampling);

// What logits are divided by, as a factor; 0 for the arg-max.
float inverse_temperature(const Sampling& sampling);
float logprob_of(float logit, double normalizer);
Status not_finite();

// Chooses a token by the whole chain, or tells log-probabilities without choosing.
void draw_token(const DrawInput& input, Scratch& scratch, Draw& result);

}  // namespace millrace
