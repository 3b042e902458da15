#pragma once
// From a row of logits to a token: a chain of steps, each a row of one table. What a row yields is
// a function of its logits, the request and the position alone. Threads: draw_token and appraise on
// pool workers, one Scratch each; the rest on the engine thread.

#include <cstdint>
#include <utility>
#include <vector>

#include "base/result.h"
#include "engine/logits.h"
#include "engine/request.h"
#include "ops/ops.h"

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

struct DrawInput {
  float* logits;  // [vocab_size], changed in place; null where `best` is all that is known
  int vocab_size;
  const Sampling* sampling;
  const TokenCounts* counts;       // null: no penalties
  uint64_t position;               // of the token to be drawn
  const TopValue* best = nullptr;  // best_needed() of them, ranked, where logits is null
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

// How many of a row's best logits decide which token is drawn; 0: all of them do.
int best_needed(const Sampling& sampling);

// Chooses a token by the whole chain.
void draw_token(const DrawInput& input, Scratch& scratch, Draw& result);

// Log-probabilities without choosing: of `target` (-1: none) and of the n_top most likely tokens.
// Reads logits and vocab_size only.
void appraise(const DrawInput& input, int32_t target, int n_top, Scratch& scratch, Draw& result);

}  // namespace millrace
