#pragma once
// One opened model: its file, configuration, tokenizer, and the weights per operator table.
// Invariant: immutable after open, apart from the cache of packed weights behind its own lock.
// Threads: any.

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "base/result.h"
#include "model/config.h"
#include "model/weights.h"
#include "text/tokenizer.h"

namespace millrace {

struct ModelInfo {
  std::string name;
  std::string architecture;
  int64_t parameters = 0;
  std::string quantization;  // the type that holds most weights, e.g. "Q4_0", or a mix: "Q4_K_M"
  int64_t size_bytes = 0;    // of the file or files
  int context_length = 0;
  int vocab_size = 0;
  int embedding_length = 0;
  int layers = 0, heads = 0, kv_heads = 0, head_dim = 0;
  std::string chat_template;  // empty: none
  int bos_token = -1;
  std::vector<int32_t> eos_tokens;
};

struct ModelOpenOptions {
  bool use_mmap = true;
  bool vocabulary_only = false;  // tokenizer and metadata; a file without tensors will do
  OpenHooks hooks;
};

class Model {
 public:
  static Result<std::shared_ptr<const Model>> open(const std::string& path,
                                                   const ModelOpenOptions& options);

  const ModelInfo& info() const { return info_; }
  const Config& config() const { return config_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  bool vocabulary_only() const { return vocabulary_only_; }

  // The weights as this device's table reads them; made at the first call, then shared.
  Result<std::shared_ptr<const Weights>> weights(Device& device) const;
  Status check_file() const { return file_->check(); }  // as FileMap's

 private:
  ModelInfo info_;
  Config config_;
  bool vocabulary_only_ = false;
  std::shared_ptr<const ModelFile> file_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  mutable std::mutex mutex_;
  mutable std::vector<std::pair<std::string, std::weak_ptr<const Weights>>> weights_;
};

}  // namespace millrace
