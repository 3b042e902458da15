#include "model/vocabulary.h"

namespace millrace {
namespace {

// tokenizer.ggml.model as files write it.
struct AlgorithmName {
  std::string_view name;
  TokenAlgorithm algorithm;
  const char* pre;  // fixed pre-tokenizer, or null
};
constexpr AlgorithmName k_algorithms[] = {
    {"llama", TokenAlgorithm::spm, nullptr},
    {"gpt2", TokenAlgorithm::bpe, nullptr},
    {"gemma4", TokenAlgorithm::bpe, "gemma4"},
    {"bert", TokenAlgorithm::wordpiece, nullptr},
};

Status read_algorithm(const Metadata& metadata, Vocabulary& out) {
  const auto model = metadata.string("tokenizer.ggml.model");
  TRY(model);
  for (const AlgorithmName& row : k_algorithms) {
    if (row.name != *model) continue;
    out.algorithm = row.algorithm;
    out.pre = row.pre != nullptr ? row.pre : metadata.string_or("tokenizer.ggml.pre", "");
    return {};
  }
  std::string known;
  for (const AlgorithmName& row : k_algorithms) {
    if (!known.empty()) known += ", ";
    known += row.name;
  }
  return Status(ErrorCode::unsupported, "Expected \"tokenizer.ggml.model\" to be one of " + known +
                                            " but found \"" + std::string(model->substr(0, 80)) +
                                            "\"");
}

Status check_count(const char* key, size_t count, size_t n_tokens) {
  if (count == n_tokens) return {};
  return error(ErrorCode::bad_file,
               "Expected \"%s\" to have one entry for each of %zu tokens but found %zu", key,
               n_tokens, count);
}

Status read_tokens(const Metadata& metadata, Vocabulary& out) {
  auto texts = metadata.strings("tokenizer.ggml.tokens");
  TRY(texts);
  out.texts = std::move(*texts);
  constexpr const char* k_scores = "tokenizer.ggml.scores";
  if (metadata.find(k_scores) != nullptr) {
    auto scores = metadata.numbers(k_scores);
    TRY(scores);
    TRY(check_count(k_scores, scores->size(), out.texts.size()));
    out.scores = std::move(*scores);
  }
  constexpr const char* k_kinds = "tokenizer.ggml.token_type";
  if (metadata.find(k_kinds) != nullptr) {
    const auto kinds = metadata.integers(k_kinds);
    TRY(kinds);
    TRY(check_count(k_kinds, kinds->size(), out.texts.size()));
    out.kinds.reserve(kinds->size());
    for (const int64_t kind : *kinds)
      out.kinds.push_back(kind >= 0 && kind <= 6 ? static_cast<TokenKind>(kind)
                                                 : TokenKind::undefined);
  }
  if (out.algorithm != TokenAlgorithm::bpe) return {};
  constexpr const char* k_merges = "tokenizer.ggml.merges";
  if (metadata.find(k_merges) == nullptr && out.pre == "kimi-k2") return {};
  auto merges = metadata.strings(k_merges);
  TRY(merges);
  out.merges = std::move(*merges);
  return {};
}

// Ids outside the vocabulary are refused: a file that names one is not what it claims to be.
Status read_id(const Metadata& metadata, const char* key, size_t n_tokens,
               std::optional<int32_t>& out) {
  if (metadata.find(key) == nullptr) return {};
  const auto id = metadata.integer(key);
  TRY(id);
  constexpr int64_t k_none = 0xFFFFFFFF;  // how some converters write "none"
  if (*id == -1 || *id == k_none) return {};
  if (*id < 0 || static_cast<uint64_t>(*id) >= n_tokens)
    return error(ErrorCode::bad_file,
                 "Expected \"%s\" to be the id of one of %zu tokens but found %lld", key, n_tokens,
                 static_cast<long long>(*id));
  out = static_cast<int32_t>(*id);
  return {};
}

Status read_ids(const Metadata& metadata, Vocabulary& out) {
  const std::pair<const char*, std::optional<int32_t>*> ids[] = {
      {"tokenizer.ggml.bos_token_id", &out.bos},
      {"tokenizer.ggml.eos_token_id", &out.eos},
      {"tokenizer.ggml.eot_token_id", &out.eot},
      {"tokenizer.ggml.eom_token_id", &out.eom},
      {"tokenizer.ggml.unknown_token_id", &out.unk},
      {"tokenizer.ggml.seperator_token_id", &out.sep},  // spelt so in the format
      {"tokenizer.ggml.padding_token_id", &out.pad},
      {"tokenizer.ggml.mask_token_id", &out.mask},
      {"tokenizer.ggml.fim_pad_token_id", &out.fim_pad},
      {"tokenizer.ggml.fim_rep_token_id", &out.fim_repo},
      {"tokenizer.ggml.fim_sep_token_id", &out.fim_separator},
  };
  for (const auto& [key, id] : ids) TRY(read_id(metadata, key, out.texts.size(), *id));
  return {};
}

Status read_flags(const Metadata& metadata, Vocabulary& out) {
  const std::pair<const char*, std::optional<bool>*> flags[] = {
      {"tokenizer.ggml.add_bos_token", &out.add_bos},
      {"tokenizer.ggml.add_eos_token", &out.add_eos},
      {"tokenizer.ggml.add_space_prefix", &out.add_space_prefix},
      {"tokenizer.ggml.normalizer.lowercase", &out.lowercase},
      {"tokenizer.ggml.normalizer.strip_accents", &out.strip_accents},
  };
  for (const auto& [key, flag] : flags) {
    if (metadata.find(key) == nullptr) continue;
    const auto value = metadata.boolean(key);
    TRY(value);
    *flag = *value;
  }
  return {};
}

}  // namespace

Result<Vocabulary> read_vocabulary(const Metadata& metadata) {
  Vocabulary out;
  TRY(read_algorithm(metadata, out));
  TRY(read_tokens(metadata, out));
  TRY(read_ids(metadata, out));
  TRY(read_flags(metadata, out));
  out.model_name = metadata.string_or("general.name", "");
  out.architecture = metadata.string_or("general.architecture", "");
  return out;
}

}  // namespace millrace
