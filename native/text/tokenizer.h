#pragma once
// Text to token ids and back, exactly as the vocabulary's makers do it (llama.cpp's ids are the
// reference). Bytes in, bytes out: input need not be valid UTF-8 and may hold NULs.
// Invariant: immutable after create.
// Threads: any; encode keeps its working memory on the caller's side.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/special-tokens.h"
#include "text/token-table.h"
#include "text/vocabulary.h"

namespace millrace {

struct EncodeOptions {
  bool add_special = true;     // BOS, EOS, SEP as the vocabulary asks
  bool parse_special = false;  // the text of a control token stands for that token
};

struct DecodeOptions {
  bool special = true;        // render control tokens as their text; else they are left out
  bool clean_spaces = false;  // take out spaces before punctuation where the vocabulary asks for
                              // it, as llama_detokenize does; loses information
};

// One way of cutting text without special tokens into tokens; immutable.
class Segmenter {
 public:
  virtual ~Segmenter() = default;
  // Appends the tokens of `text`.
  virtual void encode(std::string_view text, std::vector<int32_t>& ids) const = 0;
};

class Tokenizer {
 public:
  static Result<std::shared_ptr<const Tokenizer>> create(const Vocabulary& vocabulary);

  // Fails only for text over 1 GiB (too_long).
  Result<std::vector<int32_t>> encode(std::string_view text, EncodeOptions options) const;
  // Ids outside the vocabulary give no text. Bytes as they come: perhaps not valid UTF-8.
  std::string decode(std::span<const int32_t> ids, DecodeOptions options) const;

  // The raw bytes that a token stands for, a control token's text included; "" outside.
  std::string_view piece(int32_t id) const {
    return table_.contains(id) ? pieces_.at(id) : std::string_view();
  }
  // Tokens that are not text: control and unknown.
  bool is_special(int32_t id) const {
    return table_.contains(id) && table_.has(id, k_token_control | k_token_unknown);
  }
  bool is_end(int32_t id) const { return table_.contains(id) && ends_[static_cast<size_t>(id)]; }

  int size() const { return table_.size(); }
  int32_t bos() const { return special_.bos; }  // -1: none
  int32_t eos() const { return special_.eos; }
  const std::vector<int32_t>& eos_tokens() const { return special_.ends; }  // ascending
  bool strips_leading_space() const { return special_.add_space_prefix; }

 private:
  void encode_fragment(std::string_view text, bool after_special, std::vector<int32_t>& ids) const;

  TokenTable table_;
  StringArena pieces_;
  SpecialTokens special_;
  std::vector<bool> ends_;  // by id
  SpecialMatcher matcher_;
  TokenAlgorithm algorithm_ = TokenAlgorithm::bpe;
  std::unique_ptr<const Segmenter> segmenter_;
};

}  // namespace millrace
