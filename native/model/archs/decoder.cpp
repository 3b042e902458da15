#include <algorithm>
#include <cmath>

#include "model/archs/family.h"

namespace millrace {
namespace {

constexpr int k_max_layers = 1024;
constexpr int k_max_width = 1 << 20;
constexpr int k_max_positions = 1 << 27;

// Reads "<family>.<key>" from the metadata and keeps the first error.
class Keys {
 public:
  Keys(const Family& family, const Metadata& metadata)
      : prefix_(std::string(family.name) + "."), metadata_(metadata) {}

  // Required when fallback is negative.
  int integer(const char* key, int low, int high, int fallback = -1) {
    const std::string name = prefix_ + key;
    if (fallback >= 0 && !metadata_.find(name)) return fallback;
    auto value = metadata_.integer(name);
    if (!value.ok()) return fail(value.status());
    if (*value < low || *value > high)
      return fail(error(ErrorCode::bad_file, "Expected %s to be from %d to %d but found %lld",
                        name.c_str(), low, high, static_cast<long long>(*value)));
    return static_cast<int>(*value);
  }

  float positive(const char* key, float fallback) {
    const std::string name = prefix_ + key;
    if (fallback > 0 && !metadata_.find(name)) return fallback;
    auto value = metadata_.number(name);
    if (!value.ok()) return static_cast<float>(fail(value.status()));
    if (!std::isfinite(*value) || *value <= 0)
      return static_cast<float>(
          fail(error(ErrorCode::bad_file, "Expected %s to be a positive number but found %g",
                     name.c_str(), *value)));
    return static_cast<float>(*value);
  }

  bool has(const char* key) const { return metadata_.find(prefix_ + key) != nullptr; }
  std::string name(const char* key) const { return prefix_ + key; }
  const Metadata& metadata() const { return metadata_; }
  const Status& status() const { return status_; }

 private:
  int fail(Status status) {
    if (status_.ok()) status_ = std::move(status);
    return 1;
  }

  std::string prefix_;
  const Metadata& metadata_;
  Status status_;
};

// What the file asks for and this forward pass does not do is refused, never ignored.
Status refuse_other_blocks(const Keys& keys) {
  for (const char* key : {"expert_count", "attention.sliding_window_pattern", "ssm.state_size"}) {
    if (!keys.has(key)) continue;
    auto value = keys.metadata().integer(keys.name(key));
    if (value.ok() && *value == 0) continue;
    return error(ErrorCode::unsupported, "%s is set: this kind of block is not supported yet",
                 keys.name(key).c_str());
  }
  return {};
}

// Peng et al., "YaRN", 2023: low frequencies are divided by the factor, high ones kept, with a
// linear ramp between the dimensions that turn beta_slow and beta_fast times within the original
// context.
void apply_yarn(Rope& rope, float base, float factor, int original_positions) {
  constexpr double k_beta_fast = 32.0, k_beta_slow = 1.0;
  const auto dimension_of = [&](double turns) {
    return rope.rotary * std::log(original_positions / (turns * 2.0 * M_PI)) /
           (2.0 * std::log(static_cast<double>(base)));
  };
  const double low = std::max(0.0, std::floor(dimension_of(k_beta_fast)));
  const double high = std::min(rope.rotary - 1.0, std::ceil(dimension_of(k_beta_slow)));
  for (size_t i = 0; i < rope.inv_freq.size(); ++i) {
    const double ramp =
        std::min(1.0, std::max(0.0, (static_cast<double>(i) - low) / std::max(0.001, high - low)));
    const double keep = 1.0 - ramp;
    rope.inv_freq[i] = static_cast<float>(rope.inv_freq[i] * (keep + ramp / factor));
  }
}

Status apply_scaling(Rope& rope, Keys& keys, float base, int context) {
  std::string type = "none";
  if (keys.has("rope.scaling.type")) {
    auto value = keys.metadata().string(keys.name("rope.scaling.type"));
    TRY(value);
    type = std::string(*value);
  } else if (keys.has("rope.scale_linear")) {
    type = "linear";
  }
  if (type == "none") return {};
  const float factor =
      keys.positive("rope.scaling.factor", keys.positive("rope.scale_linear", 1.0f));
  if (type == "linear") {
    for (float& frequency : rope.inv_freq) frequency /= factor;
    return keys.status();
  }
  if (type == "yarn") {
    const int original =
        keys.integer("rope.scaling.original_context_length", 1, k_max_positions, context);
    TRY(keys.status());
    apply_yarn(rope, base, factor, original);
    rope.magnitude =
        (1.0f + 0.1f * std::log(factor)) * keys.positive("rope.scaling.attn_factor", 1.0f);
    return keys.status();
  }
  return error(ErrorCode::unsupported, "Expected %s to be none, linear or yarn but found \"%s\"",
               keys.name("rope.scaling.type").c_str(), type.c_str());
}

// Llama 3.1 files carry their frequency factors as a tensor.
Status apply_factors(Rope& rope, const ModelFile& file) {
  const TensorEntry* entry = file.find("rope_freqs.weight");
  if (!entry) return {};
  const auto n = static_cast<int64_t>(rope.inv_freq.size());
  if (entry->shape != std::vector<int64_t>{n} || entry->dtype != DType::f32)
    return error(ErrorCode::bad_file,
                 "Expected tensor \"rope_freqs.weight\" to hold %lld F32 "
                 "values",
                 static_cast<long long>(n));
  std::vector<float> factors(rope.inv_freq.size());
  decode_row(entry->dtype, entry->data, n, factors.data());
  for (size_t i = 0; i < factors.size(); ++i) {
    if (!std::isfinite(factors[i]) || factors[i] <= 0)
      return error(ErrorCode::bad_file,
                   "Expected rope_freqs.weight[%zu] to be positive but found "
                   "%g",
                   i, static_cast<double>(factors[i]));
    rope.inv_freq[i] /= factors[i];
  }
  return {};
}

Result<Rope> read_rope(Keys& keys, const Family& family, const ModelFile& file,
                       const Config& config) {
  Rope rope;
  rope.adjacent = family.adjacent_rope;
  rope.rotary = keys.integer("rope.dimension_count", 2, config.head_dim, config.head_dim);
  const float base = keys.positive("rope.freq_base", 10000.0f);
  TRY(keys.status());
  if (rope.rotary % 2 != 0)
    return error(ErrorCode::bad_file, "Expected %s to be even but found %d",
                 keys.name("rope.dimension_count").c_str(), rope.rotary);
  for (int i = 0; i < rope.rotary / 2; ++i)
    rope.inv_freq.push_back(
        static_cast<float>(std::pow(static_cast<double>(base), -2.0 * i / rope.rotary)));
  TRY(apply_factors(rope, file));
  TRY(apply_scaling(rope, keys, base, config.max_positions));
  return rope;
}

Status read_heads(Keys& keys, Config& config) {
  config.n_heads = keys.integer("attention.head_count", 1, k_max_width);
  config.n_kv_heads = keys.integer("attention.head_count_kv", 1, k_max_width, config.n_heads);
  TRY(keys.status());
  config.head_dim =
      keys.integer("attention.key_length", 2, 4096, std::max(1, config.dim / config.n_heads));
  const int value_dim = keys.integer("attention.value_length", 2, 4096, config.head_dim);
  TRY(keys.status());
  constexpr int k_most_head_dim = 1024;  // of the operators
  if (config.head_dim > k_most_head_dim)
    return error(ErrorCode::unsupported,
                 "Expected heads of at most %d dimensions but attention.key_length is %d",
                 k_most_head_dim, config.head_dim);
  if (config.n_heads % config.n_kv_heads != 0)
    return error(ErrorCode::bad_file,
                 "Expected attention.head_count (%d) to be a multiple of "
                 "attention.head_count_kv (%d)",
                 config.n_heads, config.n_kv_heads);
  if (value_dim != config.head_dim)
    return error(ErrorCode::unsupported,
                 "attention.value_length (%d) differs from "
                 "attention.key_length (%d)",
                 value_dim, config.head_dim);
  if (static_cast<int64_t>(config.n_heads) * config.head_dim > k_max_width)
    return error(ErrorCode::bad_file,
                 "attention.head_count (%d) times the head width (%d) exceeds "
                 "%d",
                 config.n_heads, config.head_dim, k_max_width);
  return {};
}

Status read_vocabulary_size(const ModelFile& file, Config& config) {
  const TensorEntry* table = file.find("token_embd.weight");
  if (!table)
    return error(ErrorCode::bad_file, "the model file has no tensor \"token_embd.weight\"");
  if (table->shape.size() != 2 || table->shape[0] != config.dim || table->shape[1] < 1 ||
      table->shape[1] > (1 << 24))
    return error(ErrorCode::bad_file,
                 "Expected tensor \"token_embd.weight\" to have %d columns and "
                 "at most 2^24 rows",
                 config.dim);
  config.vocab_size = static_cast<int>(table->shape[1]);
  return {};
}

}  // namespace

Result<Config> configure_decoder(const Family& family, const ModelFile& file) {
  Keys keys(family, file.metadata());
  TRY(refuse_other_blocks(keys));
  Config config;
  config.architecture = family.name;
  config.qk_norm = family.qk_norm;
  config.dim = keys.integer("embedding_length", 1, k_max_width);
  config.hidden_dim = keys.integer("feed_forward_length", 1, k_max_width);
  config.n_layers = keys.integer("block_count", 1, k_max_layers);
  config.max_positions = keys.integer("context_length", 1, k_max_positions);
  config.norm_eps = keys.positive("attention.layer_norm_rms_epsilon", -1.0f);
  TRY(keys.status());
  TRY(read_heads(keys, config));
  TRY(read_vocabulary_size(file, config));
  auto rope = read_rope(keys, family, file, config);
  TRY(rope);
  config.rope = std::move(*rope);
  config.attention_scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim));
  config.tied = file.find("output.weight") == nullptr;
  return config;
}

}  // namespace millrace
