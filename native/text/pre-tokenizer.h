#pragma once
// Cuts text into the words inside which byte-pair merges may happen. Every pre-tokenizer is a row
// of data over one matcher; the patterns are those of the vocabularies' makers, in the form in
// which llama.cpp runs them.
// Threads: any (immutable).

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/automaton.h"

namespace millrace {

// Where a pass cuts, and from which side it looks for matches.
enum class PassKind : uint8_t {
  both,               // from the left, before and after each match
  starts_from_right,  // from the right, before each match only
  ends_from_right,    // from the right, after each match only
};

struct PrePass {
  const char* pattern;  // dialect of regex.h
  PassKind kind = PassKind::both;
};

struct PreTokenizerRow {
  std::vector<const char*> names;
  std::vector<PrePass> passes;  // each cuts the pieces of the one before
  bool ignore_merges = false;   // a word that is a token is that token
  bool add_bos = false;
  bool clean_spaces = true;     // decoding may drop spaces before punctuation
  bool escapes_spaces = false;  // spaces become U+2581 and bytes <0xNN>, as in SentencePiece
  bool whole_newlines = false;  // with escapes_spaces: a run of newlines may be a token
  bool has_default_bos = true;  // id 11 where the file names none, as llama.cpp has it
};

std::span<const PreTokenizerRow> pre_tokenizer_rows();

// The row of a name, "" being "default"; unsupported, with the known names, when there is none.
Result<const PreTokenizerRow*> find_pre_tokenizer(std::string_view name);

class PreTokenizer {
 public:
  static Result<PreTokenizer> create(const PreTokenizerRow& row);
  // Ends of the words of `text`, ascending, the last being text.size(); text is not empty.
  void split(std::string_view text, std::vector<uint32_t>& ends) const;

 private:
  struct Pass {
    Automaton automaton;
    PassKind kind;
  };
  std::vector<Pass> passes_;
};

}  // namespace millrace
