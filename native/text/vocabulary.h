#pragma once
// What a file says about its vocabulary, as plain data: the text floor sees no model file.
// Options that a file may leave out stay empty; Tokenizer::create fills in what the algorithm and
// the pre-tokenizer ask for.
// Threads: plain values. The views must stay valid until Tokenizer::create returns.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

// How text is cut: SentencePiece-style merges by score, merges by rank, longest match per word.
enum class TokenAlgorithm : uint8_t { spm, bpe, wordpiece };

// The values of tokenizer.ggml.token_type.
enum class TokenKind : uint8_t {
  undefined = 0,
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6
};

struct Vocabulary {
  TokenAlgorithm algorithm = TokenAlgorithm::bpe;
  std::string pre;                       // name of the pre-tokenizer, bpe only; "" is "default"
  std::vector<std::string_view> texts;   // one per token, bytes as stored
  std::vector<float> scores;             // one per token, or empty: all 0
  std::vector<TokenKind> kinds;          // one per token, or empty: all normal
  std::vector<std::string_view> merges;  // "left right", in rank order, bpe only

  std::optional<int32_t> bos, eos, eot, eom, unk, sep, pad, mask;
  std::optional<int32_t> fim_pad, fim_repo, fim_separator;  // these end generation too
  std::optional<bool> add_bos, add_eos, add_space_prefix;
  std::optional<bool> lowercase, strip_accents;  // wordpiece only

  // Two names by which the reference recognises vocabularies whose special tokens swallow white
  // space: phi-3 and a few encoders.
  std::string model_name;
  std::string architecture;
};

}  // namespace millrace
