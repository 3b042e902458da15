#pragma once
// The decoder, once, straight-line: a step of many sequences through all layers.
// Threads: the engine thread, which owns the workspace.

#include <memory>
#include <vector>

#include "base/result.h"
#include "model/config.h"
#include "model/weights.h"
#include "ops/device.h"

namespace millrace {

// One step, packed: rows of all spans one after another. Arrays live until forward returns.
struct StepInput {
  const int32_t* tokens;     // [n]
  const int32_t* positions;  // [n]
  int n;
  const Span* spans;  // cover the rows in order, but for those that forward() adds
  int n_spans;
  const int32_t* output_rows;  // [n_outputs] rows whose logits are wanted, rising
  int n_outputs;
  const SampleResult* drawn = nullptr;  // [n_drawn] what tokens below 0 stand for: see EmbedArgs
  int n_drawn = 0;

  // Every sequence has one row: no prompts.
  bool only_continues() const {
    if (n_spans == 0) return false;
    const Span& last = spans[n_spans - 1];
    return last.first_row + last.n_rows == n_spans;
  }
};

// Activations of at most max_rows rows and logits of at most max_outputs rows.
class Workspace {
 public:
  static Result<std::unique_ptr<Workspace>> create(const Config& config, Device& device,
                                                   int max_rows, int max_outputs);
  static size_t size_bytes(const Config& config, int max_rows, int max_outputs);

  float *x, *normed, *q, *k, *v, *attended, *gate, *up, *delta;
  float* logits;  // [max_outputs, vocab_size]
  int max_rows = 0;
  int max_outputs = 0;
  // A step's arrays where rows were added to it, until it ends.
  std::vector<int32_t> tokens, positions, output_rows;

 private:
  Buffer buffer_;
};

// Writes K and V of every row into the cache and the logits of output_rows into workspace.logits,
// for whoever ends the device's step, which tells its errors.
Status forward(const Config& config, const Weights& weights, Device& device, KvCacheView cache,
               const StepInput& input, Workspace& workspace);

}  // namespace millrace
