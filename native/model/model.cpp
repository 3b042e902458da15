#include "model/model.h"

#include <algorithm>
#include <map>

#include "model/archs/family.h"
#include "model/vocabulary.h"

namespace millrace {
namespace {

// general.file_type of llama.cpp's quantizer, for the mixes that a single type does not name.
constexpr std::pair<int, const char*> k_file_types[] = {
    {11, "Q3_K_S"}, {12, "Q3_K_M"}, {13, "Q3_K_L"}, {14, "Q4_K_S"},
    {15, "Q4_K_M"}, {16, "Q5_K_S"}, {17, "Q5_K_M"},
};

// Where the weights are not opened, no file bounds what its tensors claim to be.
void add_up_to_limit(int64_t& sum, int64_t values) { sum += std::min(values, INT64_MAX - sum); }

// The type of most weights; with the mix's suffix where the file says so and the type agrees.
std::string quantization_of(const ModelFile& file) {
  std::map<DType, int64_t> weights;
  for (const TensorEntry& tensor : file.tensors())
    if (tensor.shape.size() >= 2) add_up_to_limit(weights[tensor.dtype], tensor.values());
  const auto most = std::max_element(weights.begin(), weights.end(),
                                     [](auto& a, auto& b) { return a.second < b.second; });
  if (most == weights.end()) return "";
  std::string type = info_of(most->first).name;
  const int64_t file_type = file.metadata().integer_or("general.file_type", -1);
  for (const auto& [id, name] : k_file_types)
    if (id == file_type && std::string(name).starts_with(type)) return name;
  return type;
}

ModelInfo describe(const ModelFile& file, const Tokenizer& tokenizer) {
  const Metadata& metadata = file.metadata();
  ModelInfo info;
  info.architecture = metadata.string_or("general.architecture", "");
  info.name = metadata.string_or("general.name", info.architecture);
  info.chat_template = metadata.string_or("tokenizer.chat_template", "");
  for (const TensorEntry& tensor : file.tensors())
    add_up_to_limit(info.parameters, tensor.values());
  info.quantization = quantization_of(file);
  info.size_bytes = static_cast<int64_t>(file.size_bytes());
  const auto integer = [&](const char* key) {
    return static_cast<int>(
        std::clamp<int64_t>(metadata.integer_or(info.architecture + "." + key, 0), 0, INT32_MAX));
  };
  info.context_length = integer("context_length");
  info.embedding_length = integer("embedding_length");
  info.layers = integer("block_count");
  info.heads = integer("attention.head_count");
  info.kv_heads = integer("attention.head_count_kv");
  info.vocab_size = tokenizer.size();
  info.bos_token = tokenizer.bos();
  info.eos_tokens = tokenizer.eos_tokens();
  return info;
}

}  // namespace

Result<std::shared_ptr<const Model>> Model::open(const std::string& path,
                                                 const ModelOpenOptions& options) {
  constexpr double k_file_share = 0.9;  // of the progress; the rest is the tokenizer
  auto file = open_model_file(path, options.use_mmap, options.vocabulary_only,
                              options.hooks.part(0, k_file_share));
  TRY(file);
  auto vocabulary = read_vocabulary((*file)->metadata());
  TRY(vocabulary);
  auto tokenizer = Tokenizer::create(*vocabulary);
  TRY(tokenizer);
  auto model = std::make_shared<Model>();
  model->file_ = *file;
  model->tokenizer_ = *tokenizer;
  model->vocabulary_only_ = options.vocabulary_only;
  model->info_ = describe(**file, **tokenizer);
  if (!options.vocabulary_only) {
    auto config = configure(**file);
    TRY(config);
    model->config_ = std::move(*config);
    model->info_.vocab_size = model->config_.vocab_size;
    model->info_.kv_heads = model->config_.n_kv_heads;
    model->info_.head_dim = model->config_.head_dim;
  }
  TRY((*file)->check());
  if (options.hooks.progress) options.hooks.progress(1.0);
  return std::shared_ptr<const Model>(std::move(model));
}

Result<std::shared_ptr<const Weights>> Model::weights(Device& device) const {
  if (vocabulary_only_)
    return error(ErrorCode::unsupported,
                 "the model was opened with vocabularyOnly: it has no weights");
  const DeviceInfo where = device.info();
  const std::string table = where.name + " " + where.ops;
  const std::lock_guard lock(mutex_);
  for (auto& [name, weak] : weights_)
    if (name == table)
      if (auto weights = weak.lock()) return weights;
  auto weights = Weights::load(file_, config_, device);
  TRY(weights);
  TRY(check_file());
  std::erase_if(weights_, [&](auto& entry) { return entry.first == table; });
  weights_.emplace_back(table, *weights);
  return *weights;
}

}  // namespace millrace
