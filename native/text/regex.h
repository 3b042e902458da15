#pragma once
// The regular expressions of pre-tokenizers, parsed into a small program. The dialect: literals,
// classes [...] and [^...] with ranges, \s \S \d \r \n \t \p{L} \p{M} \p{N} \p{P} \p{S} \x{1F},
// groups (...) (?:...) (?i:...), alternation, ? * + {n} {n,m}, one-character lookahead (?=c) (?!c)
// where c is a class or a character, and $. First alternative first, quantifiers greedy.
// Two readings follow llama.cpp, whose ids are the reference: \p{S} leaves out "~", and \d is 0-9.
// Threads: pure functions and values.

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/codepoint-set.h"

namespace millrace {

struct RegexStep {
  enum class Kind : uint8_t { set, look, split, jump, match };
  Kind kind;
  int set = -1;                 // set: consumes one of it; look: the next one must be of it
  int first = -1, second = -1;  // split: tried in this order; jump: first
};

struct RegexProgram {
  std::vector<RegexStep> steps;  // begins at 0
  std::vector<CodepointSet> sets;
};

Result<RegexProgram> parse_regex(std::string_view pattern);

}  // namespace millrace
