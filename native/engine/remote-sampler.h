#pragma once
// Sampling for logits in memory that the host cannot read: the device draws (ops/sampling.h), and a
// few bytes a row come over. The same chain as sampler.h; a token can differ from the host's where
// a random number falls within the rounding of the sums. Threads: engine thread only.

#include <memory>
#include <vector>

#include "engine/sampler.h"
#include "ops/device.h"

namespace millrace {

class RemoteSampler {
 public:
  static Result<std::unique_ptr<RemoteSampler>> create(Device& device, int max_rows,
                                                       int vocab_size);

  // draws[i] becomes what was found about row i of logits [max_rows, vocab_size], of which as many
  // as rows are changed. Waits for the device; an error is its own.
  Status draw(Device& device, float* logits, const std::vector<Wanted>& rows,
              std::vector<Draw>& draws);

  size_t size_bytes() const;  // on the device

 private:
  Status copy_top(Device& device, float* logits, size_t row, const Wanted& wanted,
                  double normalizer, Draw& draw);

  int max_rows_ = 0;
  int vocab_size_ = 0;
  Buffer sampled_;  // [max_rows] SampleResult
  Buffer best_;     // [max_rows, k_most_top] TopValue
  std::vector<SampleResult> host_sampled_;
  std::vector<TopValue> host_best_;
  std::vector<SampleQuery> asked_;
  std::vector<LogitChange> changes_;
  std::vector<float> row_;  // one row, for longer lists than top_k gives
  std::vector<Candidate> kept_;
};

}  // namespace millrace
