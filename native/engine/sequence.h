#pragma once
// One live request: its tokens, its pages, and what it has yielded so far.
// Invariant: pages hold K and V of tokens [0, n_computed); n_computed < tokens.size() while it
// lives. Threads: made anywhere, then engine thread only.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/kv-cache.h"
#include "engine/request.h"
#include "engine/sampler.h"
#include "text/text-stream.h"

namespace millrace {

struct Sequence {
  enum class Stage : uint8_t { waiting, running };

  int64_t id = 0;
  Request request;
  Stage stage = Stage::waiting;
  std::vector<int32_t> tokens;  // prompt, then output
  int n_prompt = 0;
  int max_output = 0;  // maxTokens, or what the context and the cache leave
  int n_computed = 0;

  PageTable table;
  std::string scope;            // whose pages it may share: adapter and cache salt
  std::vector<PageHash> chain;  // of each full page of tokens

  TokenCounts counts;                  // kept only if the sampling needs them
  std::unique_ptr<TextStream> stream;  // null: tokens are delivered without text
  Event held;                          // tokens whose text is not complete or not read yet
  bool has_piece = false;              // delivered at least one
  std::string text;                    // delivered so far
  int text_units = 0;                  // of it
  std::vector<float> score_logprobs;
  std::vector<std::vector<TokenLogprob>> score_top;

  uint64_t arrival = 0;      // order of arrival
  double submitted_ms = 0;   // all times on one steady clock
  double scheduled_ms = -1;  // -1: not yet; likewise below
  double first_token_ms = -1;
  double last_token_ms = -1;
  int cached_tokens = 0;
  bool is_preempted = false;                 // at least once
  bool is_scheduled = false;                 // has rows in the batch that runs
  bool is_aborted = false;                   // while it had
  FinishReason ending = FinishReason::none;  // how its last token ended it
  Status failure;                            // or why it cannot go on

  int n_tokens() const { return static_cast<int>(tokens.size()); }
  int n_output() const { return n_tokens() - n_prompt; }
  bool is_score() const { return request.kind == Request::Kind::score; }
  // One row from its next token, all before it being computed.
  bool is_decoding() const { return !is_score() && n_computed + 1 == n_tokens(); }
  PageText page_text() const { return {tokens.data(), chain, scope}; }
};

}  // namespace millrace
