#include "engine/runner.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <new>

#include "base/thread-pool.h"
#include "ops/devices.h"
#include "ops/memory.h"

namespace millrace {

namespace {

// best_needed() of the request; a score needs every row whole.
int needed_by(const BatchOutput& output) {
  return output.sequence->is_score() ? 0 : best_needed(output.sequence->request.sampling);
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
      Workspace::size_bytes(config, options.step_tokens, options.max_outputs);
  if (!device->shares_host_memory()) {
    const size_t size_bytes = sizeof(float) * static_cast<size_t>(options.max_outputs) *
                              static_cast<size_t>(config.vocab_size);
    runner->workspace_bytes_ += size_bytes;
    runner->host_logits_ = host_memory(size_bytes);
    if (!runner->host_logits_)
      return error(ErrorCode::out_of_memory, "cannot allocate %zu bytes for the logits of a step",
                   size_bytes);
    runner->host_best_.resize(static_cast<size_t>(options.max_outputs) * k_most_top);
    const size_t best_bytes = sizeof(TopValue) * runner->host_best_.size();
    auto best = device->alloc(best_bytes, "the best logits of a step");
    TRY(best);
    runner->best_ = *best;
    runner->workspace_bytes_ += 2 * best_bytes;
  }
  auto size = size_cache(
      config, device->ops(),
      {options.cache_type, options.cache_tokens, options.max_sequences, device->info().free_bytes});
  TRY(size);
  runner->cache_size_ = *size;
  auto cache = device->alloc(size->size_bytes(), "the KV cache");
  TRY(cache);
  runner->cache_ = *cache;
  if (!device->shares_host_memory()) TRY(runner->try_step(*model));
  runner->scratch_.resize(static_cast<size_t>(device->queue().pool().size()));
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
  TRY(copy_rows(model.config(), 0, 1));
  TRY(copy_best(model.config(), 1, 1));
  TRY(device_->finish());
  const int n = model.config().vocab_size;
  const auto* logits = static_cast<const float*>(host_logits_.get());
  const std::string name = device_->info().name;
  for (int i = 0; i < n; ++i)
    if (!std::isfinite(logits[i]))
      return error(ErrorCode::device, "Expected finite logits of a first step but %s gave %g",
                   name.c_str(), static_cast<double>(logits[i]));
  const int32_t expected = first_equal(logits, n, largest(logits, n));
  if (host_best_[0].index != expected)
    return error(ErrorCode::device,
                 "Expected the best token of a first step to be %d but %s gave %d", expected,
                 name.c_str(), host_best_[0].index);
  return {};
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
  auto rows = fetch(batch);
  TRY(rows);
  draws.resize(batch.outputs.size());
  device_->queue().pool().parallel_for(n_outputs, 1, [&](int begin, int end, int worker) {
    for (int i = begin; i < end; ++i) {
      const size_t row = static_cast<size_t>(i);
      sample(batch.outputs[row], *rows, row, scratch_[static_cast<size_t>(worker)], draws[row]);
    }
  });
  return {};
}

// Waits for the step. Over a bus, a few best values instead of a row of the vocabulary.
Result<Runner::Rows> Runner::fetch(const Batch& batch) {
  if (device_->shares_host_memory()) {
    TRY(device_->finish());
    return Rows{workspace_->logits};
  }
  Rows rows{static_cast<float*>(host_logits_.get())};
  const Status copied = copy_needed(batch, rows);
  TRY(device_->finish());  // what went wrong first
  TRY(copied);
  return rows;
}

Status Runner::copy_needed(const Batch& batch, Rows& rows) {
  const int n = static_cast<int>(batch.outputs.size());
  const auto needed = [&](int i) { return needed_by(batch.outputs[static_cast<size_t>(i)]); };
  for (int i = 0; i < n; ++i) rows.k = std::max(rows.k, needed(i));
  if (rows.k > 0) {
    TRY(copy_best(model_->config(), n, rows.k));
    rows.best = host_best_.data();
  }
  for (int first = 0, end = 0; first < n; first = end + 1) {
    for (end = first; end < n && needed(end) == 0;) ++end;
    if (end > first) TRY(copy_rows(model_->config(), first, end - first));
  }
  return {};
}

// The k best of each of the step's rows of logits to host_best_.
Status Runner::copy_best(const Config& config, int n_outputs, int k) {
  auto* best = static_cast<TopValue*>(best_.data());
  device_->ops().top_k(device_->queue(),
                       {workspace_->logits, n_outputs, config.vocab_size, k, best});
  return device_->copy_out(
      host_best_.data(), best,
      sizeof(TopValue) * static_cast<size_t>(n_outputs) * static_cast<size_t>(k));
}

// Whole rows to their places in host_logits_.
Status Runner::copy_rows(const Config& config, int first, int n) {
  const size_t width = static_cast<size_t>(config.vocab_size);
  const size_t at = static_cast<size_t>(first) * width;
  return device_->copy_out(static_cast<float*>(host_logits_.get()) + at, workspace_->logits + at,
                           sizeof(float) * static_cast<size_t>(n) * width);
}

// Runs on a worker, where an exception would end the process: memory refused ends the request only.
void Runner::sample(const BatchOutput& output, const Rows& rows, size_t row, Scratch& scratch,
                    Draw& draw) const {
  const Sequence& sequence = *output.sequence;
  const Request& request = sequence.request;
  const int vocab_size = model_->config().vocab_size;
  DrawInput input{rows.logits + row * static_cast<size_t>(vocab_size), vocab_size,
                  &request.sampling, &sequence.counts, static_cast<uint64_t>(output.position) + 1};
  if (rows.best && needed_by(output) > 0) {
    input.logits = nullptr;
    input.best = rows.best + row * static_cast<size_t>(rows.k);
  }
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
