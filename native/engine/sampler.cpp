#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/random.h"
#include "tensor/exponential.h"

namespace millrace {

namespace {

constexpr float k_nothing = -std::numeric_limits<float>::infinity();

// One row on its way to a token.
struct Row {
  const DrawInput& input;
  Scratch& scratch;
  float highest = 0.0f;  // of the logits after bias and penalties
  float inverse_temperature = 1.0f;
  bool is_cut = false;  // only scratch.kept may be chosen, else every token
  int32_t token = -1;

  const Sampling& sampling() const { return *input.wanted.sampling; }
  double weight(float logit) const {
    return std::exp(static_cast<double>((logit - highest) * inverse_temperature));
  }
};

void change(Row& row, int32_t token, float logit) {
  row.scratch.original.push_back({token, row.input.logits[token]});
  row.input.logits[token] = logit;
}

void bias(Row& row) {
  for (const auto& [token, amount] : row.sampling().logit_bias) {
    change(row, token, row.input.logits[token] + amount);
  }
}

// Keskar et al., "CTRL", 2019 (repetition); presence and frequency as OpenAI defines them.
void penalize(Row& row) {
  const Sampling& sampling = row.sampling();
  for (const TokenCount& count : row.input.wanted.counts->all()) {
    float logit = row.input.logits[count.token];
    logit = logit > 0 ? logit / sampling.repetition_penalty : logit * sampling.repetition_penalty;
    if (count.in_output > 0) logit -= sampling.presence_penalty;
    logit -= sampling.frequency_penalty * static_cast<float>(count.in_output);
    change(row, count.token, logit);
  }
}

void heat(Row& row) { row.inverse_temperature = inverse_temperature(row.sampling()); }

void cut_top_k(Row& row) {
  row.is_cut = true;
  select_top(row.input.logits, row.input.vocab_size, row.sampling().top_k, row.scratch.kept);
}

// Length of the shortest prefix of the ranked candidates whose weights, added to `sum`, reach
// `wanted`; all of them if none does.
size_t count_to_reach(const Row& row, const std::vector<Candidate>& ranked, double sum,
                      double wanted) {
  for (size_t i = 0; i < ranked.size(); ++i) {
    sum += row.weight(ranked[i].logit);
    if (sum >= wanted) return i + 1;
  }
  return ranked.size();
}

constexpr int k_bins = 2048;

// Which of k_bins equal steps from the likeliest to where weights vanish a logit falls into.
int bin_of(const Row& row, float logit) {
  constexpr float k_bins_per_nat = k_bins / 88.0f;
  const float distance = (row.highest - logit) * row.inverse_temperature * k_bins_per_nat;
  return distance < k_bins - 1 ? static_cast<int>(distance) : k_bins - 1;
}

// The last token, in order of rank, of the smallest set that reaches a share of the probability:
// weights are added up in bins, and only the bin in which the share is reached is ranked.
Candidate last_to_reach(const Row& row, double share) {
  const DrawInput& input = row.input;
  std::vector<double> sums(k_bins, 0.0);
  for (int32_t i = 0; i < input.vocab_size; ++i) {
    const float logit = input.logits[i];
    sums[static_cast<size_t>(bin_of(row, logit))] +=
        static_cast<double>(exp_of((logit - row.highest) * row.inverse_temperature));
  }
  double total = 0, before = 0;
  for (const double sum : sums) total += sum;
  int bin = 0;
  while (bin + 1 < k_bins && before + sums[static_cast<size_t>(bin)] < share * total) {
    before += sums[static_cast<size_t>(bin++)];
  }
  std::vector<Candidate>& edge = row.scratch.kept;
  edge.clear();
  for (int32_t i = 0; i < input.vocab_size; ++i) {
    if (bin_of(row, input.logits[i]) == bin) edge.push_back({i, input.logits[i]});
  }
  if (edge.empty()) return {input.vocab_size, k_nothing};
  std::sort(edge.begin(), edge.end(), ranks_before);
  return edge[count_to_reach(row, edge, before, share * total) - 1];
}

// The smallest set of the likeliest tokens that reaches probability top_p: Holtzman et al., "The
// curious case of neural text degeneration", 2020.
void cut_top_p(Row& row) {
  std::vector<Candidate>& kept = row.scratch.kept;
  const double share = static_cast<double>(row.sampling().top_p);
  if (row.is_cut) {
    double total = 0;
    for (const Candidate& candidate : kept) total += row.weight(candidate.logit);
    kept.resize(count_to_reach(row, kept, 0, share * total));
    return;
  }
  const Candidate last = last_to_reach(row, share);
  kept.clear();
  for (int32_t token = 0; token < row.input.vocab_size; ++token) {
    const Candidate candidate{token, row.input.logits[token]};
    if (!ranks_before(last, candidate)) kept.push_back(candidate);
  }
  row.is_cut = true;
}

// Keeps what is at least min_p times as likely as the likeliest token: Nguyen et al., "Min-p
// sampling", 2024.
void cut_min_p(Row& row) {
  const float least = std::log(row.sampling().min_p);
  const auto is_kept = [&](float logit) {
    return (logit - row.highest) * row.inverse_temperature >= least;
  };
  std::vector<Candidate>& kept = row.scratch.kept;
  if (row.is_cut) {
    std::erase_if(kept, [&](const Candidate& candidate) { return !is_kept(candidate.logit); });
    return;
  }
  kept.clear();
  for (int32_t token = 0; token < row.input.vocab_size; ++token) {
    const float logit = row.input.logits[token];
    if (is_kept(logit)) kept.push_back({token, logit});
  }
  row.is_cut = true;
}

// The inverse of the cumulative distribution, in order of token, at the position's random number.
void pick(Row& row) {
  const DrawInput& input = row.input;
  const double u = uniform(row.sampling().seed, input.wanted.position);
  const float scale = row.inverse_temperature;
  if (!row.is_cut) {
    const double total = sum_exp(input.logits, input.vocab_size, row.highest, scale);
    row.token = find_cumulative(input.logits, input.vocab_size, row.highest, scale, u * total);
    return;
  }
  std::vector<Candidate>& kept = row.scratch.kept;
  const auto by_token = [](const Candidate& a, const Candidate& b) { return a.token < b.token; };
  if (!std::is_sorted(kept.begin(), kept.end(), by_token)) {
    std::sort(kept.begin(), kept.end(), by_token);
  }
  double total = 0, walked = 0;
  for (const Candidate& candidate : kept) total += row.weight(candidate.logit);
  for (const Candidate& candidate : kept) {
    const double weight = row.weight(candidate.logit);
    walked += weight;
    if (weight > 0) row.token = candidate.token;
    if (walked > u * total && row.token >= 0) return;
  }
}

void pick_highest(Row& row) {
  row.token = first_equal(row.input.logits, row.input.vocab_size, row.highest);
}

void survey(Row& row) { row.highest = largest(row.input.logits, row.input.vocab_size); }

bool always(const Sampling&) { return true; }
bool is_greedy(const Sampling& sampling) { return sampling.temperature == 0.0f; }
bool has_bias(const Sampling& sampling) { return !sampling.logit_bias.empty(); }
bool has_top_k(const Sampling& sampling) { return sampling.top_k > 0; }
bool has_top_p(const Sampling& sampling) { return sampling.top_p < 1.0f; }
bool has_min_p(const Sampling& sampling) { return sampling.min_p > 0.0f; }

// The chain, in order; it ends with the step that finds the token.
struct Step {
  bool (*applies)(const Sampling&);
  void (*run)(Row&);
};
constexpr Step k_steps[] = {
    {has_bias, bias},          {needs_counts, penalize}, {always, survey},
    {is_greedy, pick_highest}, {always, heat},           {has_top_k, cut_top_k},
    {has_top_p, cut_top_p},    {has_min_p, cut_min_p},   {always, pick},
};

// The logarithm of the sum of exponentials; not finite if the logits are not.
double log_sum(const float* logits, int n) {
  const float highest = largest(logits, n);
  return static_cast<double>(highest) + std::log(sum_exp(logits, n, highest, 1.0f));
}

float logit_before_changes(const DrawInput& input, const Scratch& scratch, int32_t token) {
  for (const Candidate& original : scratch.original) {
    if (original.token == token) return original.logit;
  }
  return input.logits[token];
}

void list_top(const DrawInput& input, double normalizer, Scratch& scratch,
              std::vector<TokenLogprob>& top) {
  select_top(input.logits, input.vocab_size, input.wanted.n_top, scratch.kept);
  top.clear();
  top.reserve(scratch.kept.size());
  for (const Candidate& candidate : scratch.kept) {
    top.push_back({candidate.token, logprob_of(candidate.logit, normalizer)});
  }
}

void appraise(const DrawInput& input, Scratch& scratch, Draw& result) {
  const double normalizer = log_sum(input.logits, input.vocab_size);
  const int32_t target = input.wanted.target;
  result.status = std::isfinite(normalizer) ? Status() : not_finite();
  if (!result.status.ok()) return;
  if (target >= 0) result.chosen = {target, logprob_of(input.logits[target], normalizer)};
  list_top(input, normalizer, scratch, result.top);
}

}  // namespace

void TokenCounts::add_prompt(const int32_t* tokens, int n) {
  std::vector<int32_t> distinct(tokens, tokens + n);
  std::sort(distinct.begin(), distinct.end());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  counts_.reserve(distinct.size());
  for (const int32_t token : distinct) counts_.push_back({token, 0});
}

void TokenCounts::add_output(int32_t token) {
  auto place = std::lower_bound(
      counts_.begin(), counts_.end(), token,
      [](const TokenCount& count, int32_t sought) { return count.token < sought; });
  if (place == counts_.end() || place->token != token) place = counts_.insert(place, {token, 0});
  ++place->in_output;
}

bool needs_counts(const Sampling& sampling) {
  return sampling.repetition_penalty != 1.0f || sampling.presence_penalty != 0.0f ||
         sampling.frequency_penalty != 0.0f;
}

float inverse_temperature(const Sampling& sampling) {
  constexpr float k_steepest = 1e30f;
  return is_greedy(sampling) ? 0.0f : std::min(1.0f / sampling.temperature, k_steepest);
}

float logprob_of(float logit, double normalizer) {
  return static_cast<float>(static_cast<double>(logit) - normalizer);
}

Status not_finite() {
  return error(ErrorCode::bad_file,
               "Expected the model to compute finite logits but it did not; its weights may be "
               "damaged");
}

void draw_token(const DrawInput& input, Scratch& scratch, Draw& result) {
  if (input.wanted.is_score) return appraise(input, scratch, result);
  const Sampling& sampling = *input.wanted.sampling;
  double normalizer = 0;
  result.token = -1;
  result.status = {};
  scratch.original.clear();
  if (sampling.logprobs >= 0) {
    normalizer = log_sum(input.logits, input.vocab_size);
    list_top(input, normalizer, scratch, result.top);
  }
  Row row{input, scratch};
  for (const Step& step : k_steps) {
    if (step.applies(sampling)) step.run(row);
    if (row.token >= 0 || !std::isfinite(row.highest)) break;
  }
  if (row.token < 0 || !std::isfinite(normalizer)) {
    result.status = not_finite();
    return;
  }
  result.token = row.token;
  if (sampling.logprobs < 0) return;
  const float logit = logit_before_changes(input, scratch, row.token);
  result.chosen = {row.token, logprob_of(logit, normalizer)};
}

}  // namespace millrace
