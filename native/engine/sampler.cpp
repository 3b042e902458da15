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
  auto sampler = std::make_unique<Sampler>();
  sampler->max_rows_ = max_rows;
  sampler->vocab_size_ = vocab_size;
  auto found = device.alloc(size_bytes(max_rows), "the tokens of a step");
  TRY(found);
  sampler->found_ = *found;
  sampler->came_.resize(size_bytes(max_rows));
  return sampler;
}

size_t Sampler::size_bytes(int max_rows) {
  return static_cast<size_t>(max_rows) * (sizeof(SampleResult) + k_most_top * sizeof(TopValue));
}

void Sampler::ask(Device& device, float* logits, const std::vector<Wanted>& rows) {
  Asked& asked = asked_.emplace_back();
  asked.logits = logits;
  queries_.clear();
  changes_.clear();
  for (const Wanted& wanted : rows) {
    const SampleQuery& query = queries_.emplace_back(row_of(wanted, changes_));
    const bool has_target = wanted.is_score && wanted.target >= 0;
    asked.rows.push_back({wanted.n_top, wanted.is_score, has_target, query.wants_sum != 0});
    if (wanted.n_top <= k_most_top) asked.k = std::max(asked.k, wanted.n_top);
  }
  SampleQuery nothing;  // the likeliest of a row that nobody asked for
  nothing.inverse_temperature = 0;
  asked.n_filled = std::min(device.rows_for(static_cast<int>(rows.size())), max_rows_);
  const auto n_filled = static_cast<size_t>(asked.n_filled);
  queries_.resize(n_filled, nothing);
  auto* sampled = static_cast<SampleResult*>(found_.data());
  auto* best = reinterpret_cast<TopValue*>(sampled + n_filled);
  const Ops& ops = device.ops();
  if (asked.k > 0)  // before changes
    ops.top_k(device.queue(), {logits, asked.n_filled, vocab_size_, asked.k, best});
  if (n_filled > 0)
    ops.sample(device.queue(),
               {logits, queries_.data(), changes_.data(), static_cast<int>(changes_.size()),
                asked.n_filled, vocab_size_, sampled});
  device.end_step(found_.data(), asked.size_bytes());
}

Status Sampler::read(Device& device, std::vector<Draw>& draws) {
  if (asked_.empty()) return no_step_on_way();
  const Asked asked = std::move(asked_.front());
  asked_.pop_front();
  TRY(device.collect(came_.data()));
  draws.resize(asked.rows.size());
  for (size_t i = 0; i < draws.size(); ++i) {
    draws[i] = {};
    try {
      TRY(read_row(device, asked, i, draws[i]));
    } catch (const std::bad_alloc&) {
      draws[i].status = Status(ErrorCode::out_of_memory, "no memory for the step's sampling");
    }
  }
  return {};
}

Status Sampler::draw(Device& device, float* logits, const std::vector<Wanted>& rows,
                     std::vector<Draw>& draws) {
  ask(device, logits, rows);
  return read(device, draws);
}

Status Sampler::read_row(Device& device, const Asked& asked, size_t row, Draw& draw) {
  const auto* sampled = reinterpret_cast<const SampleResult*>(came_.data());
  const SampleResult& found = sampled[row];
  const AskedRow& wanted = asked.rows[row];
  draw.token = wanted.is_score ? -1 : found.token;
  if (!std::isfinite(found.highest) || found.token < 0) {
    draw.status = not_finite();
    return {};
  }
  if (!wanted.wants_sum) return {};
  const double normalizer = log_sum(found);
  if (!wanted.is_score || wanted.has_target)
    draw.chosen = {found.token, logprob_of(found.value, normalizer)};
  draw.top.reserve(static_cast<size_t>(std::min(wanted.n_top, vocab_size_)));
  if (wanted.n_top > k_most_top)
    return copy_top(device, asked.logits + row * static_cast<size_t>(vocab_size_), wanted.n_top,
                    normalizer, draw);
  const auto* best = reinterpret_cast<const TopValue*>(sampled + asked.n_filled);
  const TopValue* ranked = best + row * static_cast<size_t>(asked.k);
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
