#include "engine/runner.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "ops/devices.h"

namespace millrace {

namespace {

Wanted wanted_of(const BatchOutput& output) {
  const Sequence& sequence = *output.sequence;
  const Request& request = sequence.request;
  const size_t next = static_cast<size_t>(output.position) + 1;
  Wanted wanted{&request.sampling, &sequence.counts, next};
  wanted.n_top = std::max(0, request.sampling.logprobs);
  if (!sequence.is_score()) return wanted;
  wanted.is_score = true;
  wanted.n_top = request.score_top;
  if (next < sequence.tokens.size()) wanted.target = sequence.tokens[next];
  return wanted;
}

}  // namespace

// With "auto", whatever keeps the GPU from opening the engine is the reason to take the CPU; a
// fault of the model's own shows there too.
Result<std::unique_ptr<Runner>> Runner::open(std::shared_ptr<const Model> model,
                                             const RunnerOptions& options) {
  const auto on = [&](const char* name) -> Result<std::unique_ptr<Runner>> {
    auto device = open_device(name, options.threads);
    TRY(device);
    return open_on(*device, model, options);
  };
  if (options.device != "auto") return on(options.device.c_str());
  // A table of the CPU that is named is wanted.
  const char* table = std::getenv("MILLRACE_OPS");
  if (table && *table) return on("cpu");
  auto on_gpu = on("cuda");
  if (on_gpu.ok()) return on_gpu;
  auto on_cpu = on("cpu");
  if (on_cpu.ok()) (*on_cpu)->why_no_gpu_ = on_gpu.status().message();
  return on_cpu;
}

Result<std::unique_ptr<Runner>> Runner::open_on(const std::shared_ptr<Device>& device,
                                                std::shared_ptr<const Model> model,
                                                const RunnerOptions& options) {
  auto runner = std::make_unique<Runner>();
  const Config& config = model->config();
  runner->device_ = device;
  auto weights = model->weights(*device);
  TRY(weights);
  runner->weights_ = *weights;
  auto workspace = Workspace::create(config, *device, options.step_tokens, options.max_outputs);
  TRY(workspace);
  runner->workspace_ = std::move(*workspace);
  runner->workspace_bytes_ =
      Workspace::size_bytes(config, options.step_tokens, options.max_outputs) +
      Sampler::size_bytes(options.max_outputs);
  auto sampler = Sampler::create(*device, options.max_outputs, config.vocab_size);
  TRY(sampler);
  runner->sampler_ = std::move(*sampler);
  const size_t free_bytes = device->info().free_bytes;
  const size_t bytes_to_pack = runner->weights_->bytes_to_pack();
  auto size = size_cache(config, device->ops(),
                         {options.cache_type, options.cache_tokens, options.max_sequences,
                          free_bytes - std::min(free_bytes, bytes_to_pack)});
  TRY(size);
  runner->cache_size_ = *size;
  auto cache = device->alloc(size->size_bytes(), "the KV cache");
  TRY(cache);
  runner->cache_ = *cache;
  if (!device->shares_host_memory()) TRY(runner->try_step(*model));
  runner->model_ = std::move(model);
  return runner;
}

// One token, so that what breaks at the first step breaks here, where "auto" can take the CPU.
Status Runner::try_step(const Model& model) {
  const int32_t token = 0, position = 0, row = 0, page = 0;
  const Span span{0, 1, 0, &page};
  const KvCacheView view{cache_size_.shape, cache_.data(), cache_size_.page_bytes};
  TRY(forward(model.config(), *weights_, *device_, view, {&token, &position, 1, &span, 1, &row, 1},
              *workspace_));
  std::vector<float> logits(static_cast<size_t>(model.config().vocab_size));
  TRY(device_->copy(logits.data(), workspace_->logits, logits.size() * sizeof(float)));
  Sampling greedy;
  greedy.temperature = 0;
  std::vector<Draw> draws;
  TRY(sampler_->draw(*device_, workspace_->logits, {{&greedy, nullptr, 1}}, draws));
  const std::string name = device_->info().name;
  for (const float logit : logits)
    if (!std::isfinite(logit))
      return error(ErrorCode::device, "Expected finite logits of a first step but %s gave %g",
                   name.c_str(), static_cast<double>(logit));
  const auto best = std::max_element(logits.begin(), logits.end());
  const auto expected = static_cast<int32_t>(best - logits.begin());
  if (draws[0].token != expected)
    return error(ErrorCode::device,
                 "Expected the best token of a first step to be %d but %s gave %d", expected,
                 name.c_str(), draws[0].token);
  return {};
}

// A step may be on its way, in memory that goes now.
Runner::~Runner() {
  if (device_) (void)device_->finish();
}

Status Runner::start(const Batch& batch) {
  const int n_outputs = static_cast<int>(batch.outputs.size());
  const StepInput step{batch.tokens.data(),
                       batch.positions.data(),
                       batch.n(),
                       batch.spans.data(),
                       static_cast<int>(batch.spans.size()),
                       batch.output_rows.data(),
                       n_outputs,
                       sampler_->drawn(),
                       n_drawn_};
  const KvCacheView view{cache_size_.shape, cache_.data(), cache_size_.page_bytes};
  const auto page = [&](PageId id) {
    return static_cast<char*>(view.data) + static_cast<size_t>(id) * view.page_bytes;
  };
  for (const auto [from, to] : batch.copies) {
    if (from == to) continue;  // was given to who begins like it
    TRY(device_->copy(page(to), page(from), view.page_bytes));
  }
  TRY(forward(model_->config(), *weights_, *device_, view, step, *workspace_));
  wanted_.clear();
  for (const BatchOutput& output : batch.outputs) wanted_.push_back(wanted_of(output));
  sampler_->ask(*device_, workspace_->logits, wanted_);
  n_drawn_ = n_outputs;
  return {};
}

Status Runner::collect(std::vector<Draw>& draws) {
  TRY(sampler_->read(*device_, draws));
  if (!device_->shares_host_memory()) return {};
  return model_->check_file();  // the step may have read what is no longer there
}

}  // namespace millrace
