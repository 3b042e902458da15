#pragma once
// From rows of logits to tokens: the device draws, or tells log-probabilities (ops/sampling.h), and
// a few bytes a row come over. What a row yields is a function of its logits, the request and the
// position alone, the same on every device that computes the same logits.
// Threads: one at a time. Where memory is refused for what a row tells, that row's draw says so.

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "base/result.h"
#include "engine/request.h"
#include "ops/device.h"

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

// What was found out about one row.
struct Draw {
  int32_t token = -1;
  TokenLogprob chosen{-1, 0.0f};  // when log-probabilities were asked for
  std::vector<TokenLogprob> top;
  Status status;  // not ok: the row cannot be used
};

bool needs_counts(const Sampling& sampling);

class Sampler {
 public:
  static Result<std::unique_ptr<Sampler>> create(Device& device, int max_rows, int vocab_size);

  // Asks for draws from the rows of logits [max_rows, vocab_size], which are spoilt, and ends the
  // device's step.
  void ask(Device& device, float* logits, const std::vector<Wanted>& rows);
  // draws[i] becomes what was found about row i of the first step that was asked about and not read
  // yet. Waits for the device; an error is its own. Logits are still those where a row wants more
  // than k_most_top of them, so no other step may be on its way then.
  Status read(Device& device, std::vector<Draw>& draws);
  // Both.
  Status draw(Device& device, float* logits, const std::vector<Wanted>& rows,
              std::vector<Draw>& draws);

  // What was asked for last, in device memory [max_rows]: for EmbedArgs::drawn.
  const SampleResult* drawn() const { return static_cast<const SampleResult*>(found_.data()); }
  static size_t size_bytes(int max_rows);  // on the device

 private:
  struct AskedRow {
    int n_top;
    bool is_score, has_target, wants_sum;
  };
  // A step that was asked about. What comes over is a SampleResult for each of n_filled rows, then
  // k TopValues for each.
  struct Asked {
    std::vector<AskedRow> rows;
    const float* logits = nullptr;
    int n_filled = 0;
    int k = 0;
    size_t size_bytes() const {
      const size_t row_bytes = sizeof(SampleResult) + static_cast<size_t>(k) * sizeof(TopValue);
      return static_cast<size_t>(n_filled) * row_bytes;
    }
  };
  Status read_row(Device& device, const Asked& asked, size_t row, Draw& draw);
  Status copy_top(Device& device, const float* row, int n_top, double normalizer, Draw& draw);

  int max_rows_ = 0;
  int vocab_size_ = 0;
  Buffer found_;
  std::vector<char> came_;
  std::deque<Asked> asked_;
  std::vector<SampleQuery> queries_;
  std::vector<LogitChange> changes_;
  std::vector<float> row_;  // one row, for longer lists than top_k gives
  std::vector<uint64_t> keys_;
};

}  // namespace millrace
