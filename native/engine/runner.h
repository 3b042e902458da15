#pragma once
// Runs batches: the model on its device, then the sampler on every row of logits that is wanted.
// Owns what a step needs and nothing else does: device, workspace, cache memory.
// Threads: opened on a job thread, then engine thread only.

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/batch.h"
#include "engine/cache-size.h"
#include "engine/sampler.h"
#include "model/forward.h"
#include "model/model.h"

namespace millrace {

struct RunnerOptions {
  std::string device = "auto";  // a usable GPU, else the CPU; or as open_device takes it
  int threads = 0;
  int max_sequences = 1;
  int step_tokens = 1;
  int max_outputs = 1;
  DType cache_type = DType::f16;
  int64_t cache_tokens = 0;
};

class Runner {
 public:
  static Result<std::unique_ptr<Runner>> open(std::shared_ptr<const Model> model,
                                              const RunnerOptions& options);

  ~Runner();

  // Starts a step, of which nothing has to stay. Where the device runs_ahead(), one more may be
  // started before the first is collected.
  Status start(const Batch& batch);
  // Waits for the first step started: draws[i] becomes what was found about its batch.outputs[i].
  // An error is the device's: it cannot go on.
  Status collect(std::vector<Draw>& draws);
  bool runs_ahead() const { return device_->runs_ahead(); }

  DeviceInfo device_info() const { return device_->info(); }
  const std::string& why_no_gpu() const { return why_no_gpu_; }  // where "auto" took the CPU
  const CacheSize& cache_size() const { return cache_size_; }
  size_t weights_bytes() const { return weights_->packed_bytes; }
  size_t bytes_to_pack() const { return weights_->bytes_to_pack(); }  // that packing will take
  size_t workspace_bytes() const { return workspace_bytes_; }

 private:
  static Result<std::unique_ptr<Runner>> open_on(const std::shared_ptr<Device>& device,
                                                 std::shared_ptr<const Model> model,
                                                 const RunnerOptions& options);
  Status try_step(const Model& model);

  std::shared_ptr<const Model> model_;
  std::shared_ptr<Device> device_;
  std::shared_ptr<const Weights> weights_;
  std::unique_ptr<Workspace> workspace_;
  size_t workspace_bytes_ = 0;
  CacheSize cache_size_;
  Buffer cache_;
  std::unique_ptr<Sampler> sampler_;
  std::string why_no_gpu_;
  std::vector<Wanted> wanted_;  // per output of the step
  int n_drawn_ = 0;             // outputs of the last step
};

}  // namespace millrace
