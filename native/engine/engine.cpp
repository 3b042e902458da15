#include "engine/engine.h"

#include <algorithm>

#include "engine/loop.h"

namespace millrace {

namespace {

constexpr int k_chosen_sequences = 64;
constexpr int k_chosen_step = 512;
constexpr int k_chosen_queue = 1024;
constexpr int k_score_rows = 32;  // rows of logits beside those of decoding sequences

Status check_count(const char* name, int64_t value, int64_t most) {
  if (value >= 0 && value <= most) return {};
  return error(ErrorCode::invalid_argument,
               "Expected \"%s\" to be from 0 to %lld but received %lld", name,
               static_cast<long long>(most), static_cast<long long>(value));
}

Status check_options(const Model& model, const EngineOptions& options) {
  constexpr int64_t k_most = 1 << 20;
  if (model.vocabulary_only()) {
    return error(ErrorCode::unsupported,
                 "Expected a model with weights but it was opened with vocabularyOnly");
  }
  TRY(check_count("threads", options.threads, 4096));
  TRY(check_count("maxSequences", options.max_sequences, k_most));
  TRY(check_count("stepTokens", options.step_tokens, k_most));
  TRY(check_count("queueLimit", options.queue_limit, INT32_MAX / 2));
  TRY(check_count("cacheTokens", options.cache_tokens, INT64_MAX / 2));
  if (options.step_tokens > 0 && options.step_tokens < options.max_sequences) {
    return error(ErrorCode::invalid_argument,
                 "Expected \"stepTokens\" to be at least maxSequences %d but received %d",
                 options.max_sequences, options.step_tokens);
  }
  return {};
}

Limits choose_limits(const Model& model, const EngineOptions& options) {
  Limits limits;
  limits.step_tokens = options.step_tokens;
  if (limits.step_tokens == 0) limits.step_tokens = std::max(k_chosen_step, options.max_sequences);
  limits.max_sequences = options.max_sequences;
  if (limits.max_sequences == 0) {
    limits.max_sequences = std::min(k_chosen_sequences, limits.step_tokens);
  }
  limits.max_outputs = std::min(limits.step_tokens, limits.max_sequences + k_score_rows);
  limits.context = model.config().max_positions;
  limits.vocab_size = model.config().vocab_size;
  limits.end_tokens = model.info().eos_tokens;
  return limits;
}

}  // namespace

Engine::Engine(std::shared_ptr<Loop> loop) : loop_(std::move(loop)) {}

Result<std::shared_ptr<Engine>> Engine::open(std::shared_ptr<const Model> model,
                                             const EngineOptions& options,
                                             std::shared_ptr<EventSink> sink) {
  TRY(check_options(*model, options));
  const Limits limits = choose_limits(*model, options);
  auto runner = Runner::open(
      model, {options.device, options.threads, limits.max_sequences, limits.step_tokens,
              limits.max_outputs, options.cache_type, options.cache_tokens});
  TRY(runner);
  const int queue_limit = options.queue_limit > 0 ? options.queue_limit : k_chosen_queue;
  auto loop = std::make_shared<Loop>(std::move(model), std::move(*runner), limits, queue_limit,
                                     std::move(sink));
  TRY(Loop::start(loop));
  return std::make_shared<Engine>(std::move(loop));
}

Engine::~Engine() { loop_->shut(); }

Status Engine::submit(int64_t id, Request request) { return loop_->submit(id, std::move(request)); }
void Engine::abort(int64_t id) { loop_->abort(id); }
void Engine::read(int64_t id) { loop_->read(id); }

EngineStats Engine::stats() const { return loop_->stats(); }
void Engine::close(int64_t drain_ms) { loop_->close(drain_ms); }
void Engine::close_async(int64_t drain_ms, std::function<void()> on_closed) {
  loop_->close_async(drain_ms, std::move(on_closed));
}

}  // namespace millrace
