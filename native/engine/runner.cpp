#include "engine/runner.h"

#include <new>

#include "base/thread-pool.h"

namespace millrace {

Result<std::unique_ptr<Runner>> Runner::open(std::shared_ptr<const Model> model,
                                             const RunnerOptions& options) {
  auto runner = std::make_unique<Runner>();
  const Config& config = model->config();
  auto device = open_cpu({options.threads, ""});
  TRY(device);
  runner->device_ = *device;
  auto weights = model->weights(**device);
  TRY(weights);
  runner->weights_ = *weights;
  auto workspace = Workspace::create(config, **device, options.step_tokens, options.max_outputs);
  TRY(workspace);
  runner->workspace_ = std::move(*workspace);
  runner->workspace_bytes_ =
      Workspace::size_bytes(config, options.step_tokens, options.max_outputs);
  auto size = size_cache(config, (*device)->ops(),
                         {options.cache_type, options.cache_tokens, options.max_sequences,
                          (*device)->info().free_bytes});
  TRY(size);
  runner->cache_size_ = *size;
  auto cache = (*device)->alloc(size->size_bytes(), "the KV cache");
  TRY(cache);
  runner->cache_ = *cache;
  runner->scratch_.resize(static_cast<size_t>((*device)->queue().pool().size()));
  runner->model_ = std::move(model);
  return runner;
}

Status Runner::run(const Batch& batch, std::vector<Draw>& draws) {
  const int n_outputs = static_cast<int>(batch.outputs.size());
  const StepInput step{batch.tokens.data(),
                       batch.positions.data(),
                       batch.n(),
                       batch.spans.data(),
                       static_cast<int>(batch.spans.size()),
                       batch.output_rows.data(),
                       n_outputs};
  const KvCacheView view{cache_size_.shape, cache_.data(), cache_size_.page_bytes};
  TRY(forward(model_->config(), *weights_, *device_, view, step, *workspace_));
  TRY(device_->finish());
  draws.resize(batch.outputs.size());
  const size_t width = static_cast<size_t>(model_->config().vocab_size);
  device_->queue().pool().parallel_for(n_outputs, 1, [&](int begin, int end, int worker) {
    for (int i = begin; i < end; ++i) {
      const size_t row = static_cast<size_t>(i);
      sample(batch.outputs[row], workspace_->logits + row * width,
             scratch_[static_cast<size_t>(worker)], draws[row]);
    }
  });
  return {};
}

// Runs on a worker, where an exception would end the process: memory refused ends the request only.
void Runner::sample(const BatchOutput& output, float* logits, Scratch& scratch, Draw& draw) const {
  const Sequence& sequence = *output.sequence;
  const Request& request = sequence.request;
  const DrawInput input{logits, model_->config().vocab_size, &request.sampling, &sequence.counts,
                        static_cast<uint64_t>(output.position) + 1};
  try {
    if (sequence.is_score()) {
      const size_t next = static_cast<size_t>(output.position) + 1;
      const int32_t target = next < sequence.tokens.size() ? sequence.tokens[next] : -1;
      appraise(input, target, request.score_top, scratch, draw);
    } else {
      draw_token(input, scratch, draw);
    }
  } catch (const std::bad_alloc&) {
    draw.status = Status(ErrorCode::out_of_memory, "no memory for the step's sampling");
  }
}

}  // namespace millrace
