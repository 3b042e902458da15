#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <new>

#include "engine/random.h"

namespace millrace {
namespace {

// What logits are divided by, as a factor; 0 for the arg-max.
float inverse_temperature(const Sampling& sampling) {
  constexpr float k_steepest = 1e30f;
  return sampling.temperature == 0.0f ? 0.0f : std::min(1.0f / sampling.temperature, k_steepest);
}

float logprob_of(float logit, double normalizer) {
  return static_cast<float>(static_cast<double>(logit) - normalizer);
}

Status not_finite() {
  return error(ErrorCode::bad_file,
               "Expected the model to compute finite logits but it did not; its weights may be "
               "damaged");
}

// Bias first; a token that penalties look at has its bias in the same change.
void add_changes(const Wanted& wanted, SampleQuery& row, std::vector<LogitChange>& changes) {
  const Sampling& sampling = *wanted.sampling;
  row.first_change = static_cast<int32_t>(changes.size());
  if (needs_counts(sampling) && wanted.counts)
    for (const TokenCount& count : wanted.counts->all())
      changes.push_back({count.token, count.in_output, 0.0f});
  const auto first = changes.begin() + row.first_change, last = changes.end();
  std::vector<LogitChange> only_biased;
  for (const auto& [token, amount] : sampling.logit_bias) {
    const auto place = std::lower_bound(
        first, last, token,
        [](const LogitChange& change, int32_t sought) { return change.token < sought; });
    if (place != last && place->token == token)
      place->bias = amount;
    else
      only_biased.push_back({token, -1, amount});
  }
  changes.insert(changes.end(), only_biased.begin(), only_biased.end());
  row.n_changes = static_cast<int32_t>(changes.size()) - row.first_change;
}

SampleQuery row_of(const Wanted& wanted, std::vector<LogitChange>& changes) {
  SampleQuery row;
  row.wants_sum = wanted.is_score || wanted.sampling->logprobs >= 0;
  if (wanted.is_score) {
    row.target = std::max(0, wanted.target);
    return row;
  }
  const Sampling& sampling = *wanted.sampling;
  row.uniform = uniform(sampling.seed, wanted.position);
  row.inverse_temperature = inverse_temperature(sampling);
  row.top_k = sampling.top_k;
  row.top_p = sampling.top_p;
  if (sampling.min_p > 0) row.least = std::log(sampling.min_p);
  row.repetition_penalty = sampling.repetition_penalty;
  row.presence_penalty = sampling.presence_penalty;
  row.frequency_penalty = sampling.frequency_penalty;
  add_changes(wanted, row, changes);
  return row;
}

// The logarithm of the sum of exponentials.
double log_sum(const SampleResult& row) {
  return static_cast<double>(row.highest) +
         std::log(std::ldexp(static_cast<double>(row.weight_sum), -k_weight_bits));
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

Result<std::unique_ptr<Sampler>> Sampler::create(Device& device, int max_rows, int vocab_size) {
  if (vocab_size > k_most_width)
    return error(ErrorCode::unsupported,
                 "Expected a vocabulary of at most %d tokens but found one of %d", k_most_width,
                 vocab_size);
  const auto n = static_cast<size_t>(max_rows);
  auto sampler = std::make_unique<Sampler>();
  sampler->max_rows_ = max_rows;
  sampler->vocab_size_ = vocab_size;
  auto sampled = device.alloc(n * sizeof(SampleResult), "the tokens of a step");
  TRY(sampled);
  auto best = device.alloc(n * k_most_top * sizeof(TopValue), "the best logits of a step");
  TRY(best);
  sampler->sampled_ = *sampled;
  sampler->best_ = *best;
  sampler->host_sampled_.resize(n);
  sampler->host_best_.resize(n * k_most_top);
  return sampler;
}

size_t Sampler::size_bytes(int max_rows) {
  return static_cast<size_t>(max_rows) * (sizeof(SampleResult) + k_most_top * sizeof(TopValue));
}

Status Sampler::draw(Device& device, float* logits, const std::vector<Wanted>& rows,
                     std::vector<Draw>& draws) {
  const int n = static_cast<int>(rows.size());
  draws.resize(rows.size());
  if (n == 0) return device.finish();
  asked_.clear();
  changes_.clear();
  int k = 0;
  for (const Wanted& wanted : rows) {
    asked_.push_back(row_of(wanted, changes_));
    if (wanted.n_top <= k_most_top) k = std::max(k, wanted.n_top);
  }
  SampleQuery nothing;  // the likeliest of a row that nobody asked for
  nothing.inverse_temperature = 0;
  const int n_filled = std::min(device.rows_for(n), max_rows_);
  asked_.resize(static_cast<size_t>(n_filled), nothing);
  const Ops& ops = device.ops();
  auto* best = static_cast<TopValue*>(best_.data());
  auto* sampled = static_cast<SampleResult*>(sampled_.data());
  if (k > 0) ops.top_k(device.queue(), {logits, n_filled, vocab_size_, k, best});  // before changes
  ops.sample(device.queue(), {logits, asked_.data(), changes_.data(),
                              static_cast<int>(changes_.size()), n_filled, vocab_size_, sampled});
  Status copied = device.copy(host_sampled_.data(), sampled, rows.size() * sizeof(SampleResult));
  if (copied.ok() && k > 0)
    copied = device.copy(host_best_.data(), best,
                         rows.size() * static_cast<size_t>(k) * sizeof(TopValue));
  TRY(device.finish());  // what went wrong first
  TRY(copied);
  for (size_t i = 0; i < rows.size(); ++i) {
    draws[i] = {};
    try {
      TRY(read(device, logits, rows[i], i, k, draws[i]));
    } catch (const std::bad_alloc&) {
      draws[i].status = Status(ErrorCode::out_of_memory, "no memory for the step's sampling");
    }
  }
  return {};
}

// What came over about a row, of which top_k listed k.
Status Sampler::read(Device& device, const float* logits, const Wanted& wanted, size_t row, int k,
                     Draw& draw) {
  const SampleResult& found = host_sampled_[row];
  draw.token = wanted.is_score ? -1 : found.token;
  if (!std::isfinite(found.highest) || found.token < 0) {
    draw.status = not_finite();
    return {};
  }
  if (!asked_[row].wants_sum) return {};
  const double normalizer = log_sum(found);
  if (!wanted.is_score || wanted.target >= 0)
    draw.chosen = {found.token, logprob_of(found.value, normalizer)};
  draw.top.reserve(static_cast<size_t>(std::min(wanted.n_top, vocab_size_)));
  if (wanted.n_top > k_most_top)
    return copy_top(device, logits + row * static_cast<size_t>(vocab_size_), wanted.n_top,
                    normalizer, draw);
  const TopValue* ranked = host_best_.data() + row * static_cast<size_t>(k);
  for (int j = 0; j < wanted.n_top && ranked[j].index >= 0; ++j)
    draw.top.push_back({ranked[j].index, logprob_of(ranked[j].value, normalizer)});
  return {};
}

// A longer list than top_k gives, from the whole row: of a score, which changes nothing.
Status Sampler::copy_top(Device& device, const float* row, int n_top, double normalizer,
                         Draw& draw) {
  const auto width = static_cast<size_t>(vocab_size_);
  row_.resize(width);
  TRY(device.copy(row_.data(), row, width * sizeof(float)));
  TRY(device.finish());
  keys_.resize(width);
  for (int i = 0; i < vocab_size_; ++i)
    keys_[static_cast<size_t>(i)] = rank_key(row_[static_cast<size_t>(i)], i);
  const auto end = keys_.begin() + std::min(n_top, vocab_size_);
  if (end != keys_.end()) std::nth_element(keys_.begin(), end, keys_.end(), std::greater<>());
  std::sort(keys_.begin(), end, std::greater<>());
  for (auto key = keys_.begin(); key != end; ++key)
    draw.top.push_back({index_of_key(*key), logprob_of(value_of_key(*key), normalizer)});
  return {};
}

}  // namespace millrace
