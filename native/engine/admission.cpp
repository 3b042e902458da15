#include "engine/admission.h"

#include <algorithm>
#include <cmath>

namespace millrace {

namespace {

Status check_number(const char* name, double value, double low, double high) {
  if (value >= low && value <= high) return {};
  return error(ErrorCode::invalid_argument,
               "Expected \"%s\" to be a number from %g to %g but "
               "received %g",
               name, low, high, value);
}

Status check_tokens(const std::vector<int32_t>& tokens, int vocab_size) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] >= 0 && tokens[i] < vocab_size) continue;
    return error(ErrorCode::invalid_argument,
                 "Expected token %zu of \"prompt\" to be from 0 to %d but received %d", i,
                 vocab_size - 1, tokens[i]);
  }
  return {};
}

Status check_sampling(const Sampling& sampling, int vocab_size) {
  constexpr double k_huge = 1e30;
  TRY(check_number("temperature", sampling.temperature, 0, k_huge));
  TRY(check_number("topK", sampling.top_k, 0, k_huge));
  TRY(check_number("topP", sampling.top_p, 0, 1));
  TRY(check_number("minP", sampling.min_p, 0, 1));
  TRY(check_number("repetitionPenalty", sampling.repetition_penalty, 1e-3, k_huge));
  TRY(check_number("presencePenalty", sampling.presence_penalty, -k_huge, k_huge));
  TRY(check_number("frequencyPenalty", sampling.frequency_penalty, -k_huge, k_huge));
  TRY(check_number("logprobs", sampling.logprobs, -1, std::min(20, vocab_size)));
  for (const auto& [token, amount] : sampling.logit_bias) {
    TRY(check_number("logitBias token", token, 0, vocab_size - 1));
    TRY(check_number("logitBias", amount, -k_huge, k_huge));
  }
  std::vector<int32_t> biased;
  for (const auto& [token, amount] : sampling.logit_bias) biased.push_back(token);
  std::sort(biased.begin(), biased.end());
  const auto twice = std::adjacent_find(biased.begin(), biased.end());
  if (twice != biased.end())
    return error(ErrorCode::invalid_argument,
                 "Expected \"logitBias\" to name each token once but it names %d again", *twice);
  return {};
}

// Room for output in `offered` tokens: the last token drawn is never fed, so the cache needs one
// position fewer than there are tokens.
Status check_room(Sequence& sequence, int offered, const char* what) {
  const int n_prompt = sequence.n_prompt;
  const int max_tokens = sequence.request.max_tokens;
  const bool is_score = sequence.is_score();
  const int64_t wanted = is_score ? 0 : max_tokens < 0 ? 1 : max_tokens;
  const int64_t total = n_prompt + wanted;
  if (total <= offered) {
    const int room = offered - n_prompt;
    sequence.max_output = std::min(sequence.max_output, room);
    return {};
  }
  if (is_score || max_tokens < 0) {
    return error(ErrorCode::too_long,
                 "Expected a prompt shorter than %s of %d tokens but received "
                 "%d tokens",
                 what, offered, n_prompt);
  }
  return error(ErrorCode::too_long,
               "Expected prompt and maxTokens to fit %s of %d tokens but "
               "received %d + %d = %lld",
               what, offered, n_prompt, max_tokens, static_cast<long long>(total));
}

}  // namespace

Status admit(Sequence& sequence, const Limits& limits, const KvCache& cache) {
  const Request& request = sequence.request;
  if (sequence.tokens.empty()) {
    return error(ErrorCode::invalid_argument,
                 "Expected \"prompt\" to have at least one token but received none");
  }
  if (sequence.tokens.size() > static_cast<size_t>(limits.context)) {
    return error(ErrorCode::too_long,
                 "Expected a prompt shorter than the model's context of %d "
                 "tokens but received %zu tokens",
                 limits.context, sequence.tokens.size());
  }
  TRY(check_tokens(sequence.tokens, limits.vocab_size));
  TRY(check_sampling(request.sampling, limits.vocab_size));
  TRY(check_number("top", request.score_top, 0, limits.vocab_size));
  TRY(check_number("maxTokens", request.max_tokens, -1, INT32_MAX));
  sequence.n_prompt = sequence.n_tokens();
  sequence.max_output = request.max_tokens < 0 ? INT32_MAX : request.max_tokens;
  TRY(check_room(sequence, limits.context, "the model's context"));
  const int64_t cache_tokens = static_cast<int64_t>(cache.total()) * cache.page_tokens();
  const int64_t offered =
      std::min<int64_t>(cache_tokens + (sequence.is_score() ? 0 : 1), INT32_MAX);
  TRY(check_room(sequence, static_cast<int>(offered), "the engine's cache"));
  sequence.scope = request.cache_salt;
  if (needs_counts(request.sampling)) {
    sequence.counts.add_prompt(sequence.tokens.data(), sequence.n_prompt);
  }
  return {};
}

}  // namespace millrace
