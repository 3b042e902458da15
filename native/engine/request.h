#pragma once
// What crosses the border: a request in, events out, options and counters. Plain data.
// Threads: values; a Request is moved from the JS thread to the engine thread, an EventBatch back.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "tensor/dtype.h"

namespace millrace {

enum class Priority : uint8_t { interactive, normal, batch };

// How the next token is chosen. Steps run in this order: bias, penalties, temperature, top-k,
// top-p, min-p, pick. temperature 0 is the arg-max, ties to the lower id.
struct Sampling {
  float temperature = 1.0f;
  int top_k = 0;  // 0: off
  float top_p = 1.0f;
  float min_p = 0.0f;
  uint64_t seed = 0;                // randomness is a function of (seed, position) alone
  float repetition_penalty = 1.0f;  // Keskar et al. 2019, over prompt and output
  float presence_penalty = 0.0f;    // over the output, as OpenAI defines it
  float frequency_penalty = 0.0f;
  std::vector<std::pair<int32_t, float>> logit_bias;
  int logprobs = -1;  // -1: none; 0..20 alternatives beside the chosen token
};

struct Request {
  enum class Kind : uint8_t { generate, score };
  Kind kind = Kind::generate;
  bool is_text = false;
  std::string text;             // UTF-8, tokenized off the JS thread
  bool add_special = true;      // BOS and friends, as the vocabulary asks
  bool parse_special = false;   // recognise special tokens in text (chat templates)
  std::vector<int32_t> tokens;  // when !is_text
  int max_tokens = -1;          // -1: to the end of the context
  std::vector<std::string> stop;
  std::vector<int32_t> stop_tokens;
  bool ignore_eos = false;
  bool wants_pieces = true;  // false: none until somebody reads; the end brings the whole answer
  Priority priority = Priority::normal;
  int64_t deadline_ms = 0;  // from submission; 0: none
  std::string cache_salt;
  Sampling sampling;
  int score_top = 0;  // score only
};

enum class FinishReason : uint8_t { none, stop, length, abort };

struct TokenLogprob {
  int32_t token;
  float logprob;  // natural log, of the distribution before temperature and cuts
};

struct Usage {
  int prompt_tokens = 0;
  int cached_tokens = 0;
  int completion_tokens = 0;  // delivered; an end-of-sequence token or stop token is neither
};
struct Timings {
  double queue_ms = 0;        // submitted to first scheduled
  double first_token_ms = 0;  // submitted to first token
  double decode_ms = 0;       // first token to last
};

// What one request gained in a step.
struct Event {
  enum class Kind : uint8_t { piece, done, error, score };
  Kind kind = Kind::piece;
  int64_t request = 0;
  std::vector<int32_t> tokens;  // piece: those whose text it completes (may be 0); done: all of the
                                // answer; score: the prompt
  std::string text;             // piece: valid UTF-8; done: all of the answer
  int text_units = 0;           // piece, done: UTF-16 code units of text
  bool is_first = false;        // piece: of its answer
  std::vector<TokenLogprob> logprobs;          // per token of `tokens`, when asked
  std::vector<std::vector<TokenLogprob>> top;  // alternatives per token; score: after each token
  FinishReason reason = FinishReason::none;    // done
  Usage usage;                                 // done, score
  Timings timings;                             // done, score
  Status error;                                // error
  std::vector<float> score_logprobs;  // score: of each token given those before; NaN for the first
};

using EventBatch = std::vector<Event>;

// Receives the events of a step, on the engine thread; must return quickly.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void deliver(EventBatch&& events) = 0;
};

struct EngineOptions {
  std::string device = "auto";
  int threads = 0;
  int max_sequences = 0;     // 0: chosen
  int64_t cache_tokens = 0;  // 0: from free memory
  DType cache_type = DType::f16;
  int step_tokens = 0;  // 0: chosen
  int queue_limit = 0;  // 0: chosen
};

struct EngineStats {
  std::string device, hardware, ops;
  std::string why_no_gpu;  // where "auto" took the CPU
  int threads = 0;
  int running = 0, waiting = 0;
  int64_t page_tokens = 0;
  int64_t pages_total = 0, pages_free = 0, pages_cached = 0, pages_held = 0;
  int64_t steps = 0, prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;
  int64_t preemptions = 0, evictions = 0;
  int64_t finished = 0, aborted = 0, failed = 0, rejected = 0;
  int64_t weights_bytes = 0, cache_bytes = 0, workspace_bytes = 0;
  std::string state;           // "open", "closing", "closed", "failed"
  bool identity_holds = true;  // free + cached + held == total
};

}  // namespace millrace
