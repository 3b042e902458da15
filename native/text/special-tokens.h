#pragma once
// Tokens with a meaning: which id is BOS, EOS and so on, which ones end a generation, and where
// special tokens stand inside a text.
// Threads: any (immutable once made).

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/pre-tokenizer.h"
#include "text/token-table.h"
#include "text/vocabulary.h"

namespace millrace {

struct SpecialTokens {
  int32_t bos = -1, eos = -1, eot = -1, eom = -1, unk = -1, sep = -1;  // -1: none
  std::vector<int32_t> ends;  // a generation ends with any of these; ascending
  bool add_bos = false, add_eos = false, add_sep = false;
  bool add_space_prefix = false;  // text begins as if a space stood before it
  bool clean_spaces = false;      // decoding may drop spaces before punctuation
};

// Applies the file's ids and flags over the algorithm's and pre-tokenizer's defaults, and marks in
// the table what is recognised by its text only (files often forget to say that a token ends).
// Fails when an id that encoding would need lies outside the vocabulary.
Result<SpecialTokens> find_special_tokens(const Vocabulary& vocabulary, const PreTokenizerRow* row,
                                          TokenTable& table);

// A stretch of text, or a special token found in it (token >= 0).
struct Fragment {
  std::string_view text;
  int32_t token = -1;
};

// Cuts a text at special tokens: longer tokens first over the whole text, each leftmost first.
class SpecialMatcher {
 public:
  SpecialMatcher() = default;
  explicit SpecialMatcher(const TokenTable& table);
  // `control`: recognise control and unknown tokens too; else only user-defined ones.
  std::vector<Fragment> split(const TokenTable& table, std::string_view text, bool control) const;

 private:
  struct Entry {
    std::string_view text;  // in the table's arena
    int32_t token;
    int order;  // place in longest-first order
    bool user_defined;
  };
  void find_present(std::string_view text, bool control, std::vector<bool>& present) const;

  std::vector<Entry> sorted_;    // by text
  std::vector<int> by_order_;    // longest first, indices into sorted_
  std::vector<uint32_t> first_;  // [256 + 1] ranges of sorted_ by first byte
};

}  // namespace millrace
