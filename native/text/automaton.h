#pragma once
// A pattern as a deterministic automaton over classes of code points: one table step per
// character, no backtracking. Which match wins is settled when the table is built: the one a
// backtracking matcher would find first.
// Invariant: every match takes at least one character.
// Threads: any (immutable); a Scan belongs to one caller.

#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/regex.h"

namespace millrace {

// The equivalence classes of code points that a set of CodepointSets cannot tell apart.
class CodepointClasses {
 public:
  explicit CodepointClasses(const std::vector<CodepointSet>& sets);
  int count() const { return count_; }
  uint8_t of(uint32_t codepoint) const {
    return blocks_[static_cast<size_t>(pages_[codepoint >> 8]) * 256 + (codepoint & 0xFF)];
  }
  const uint8_t* ascii() const { return blocks_.data() + static_cast<size_t>(pages_[0]) * 256; }
  // Whether a class lies inside a set given at construction.
  bool inside(int class_id, size_t set) const {
    return members_[static_cast<size_t>(class_id)][set];
  }

 private:
  static constexpr uint32_t k_page = 256;
  void append_run(int class_id, uint32_t length);

  int count_ = 0;
  uint32_t partial_ = 0;               // code points of the last page so far, when not complete
  std::map<uint8_t, size_t> uniform_;  // class -> block of that class alone
  std::vector<std::vector<bool>> members_;  // [class][set]
  std::vector<uint16_t> pages_;             // [code point / 256] -> block
  std::vector<uint8_t> blocks_;             // [block][code point % 256] -> class
};

class Automaton {
 public:
  static Result<Automaton> compile(std::string_view pattern);

  // What earlier searches of the same text have learnt: from `from` on to `to`, this state leads
  // to no further match. It keeps a long run of one class from being walked again and again.
  struct Scan {
    uint32_t state = ~0u;
    size_t from = 0, to = 0;
  };

  static constexpr size_t k_no_match = ~size_t{0};

  // End of the match that starts at `begin`, or k_no_match. Text must be decodable (see
  // decode_lenient) with `begin` at a character; `begin` must not decrease between calls with the
  // same Scan.
  size_t match(std::string_view text, size_t begin, Scan& scan) const;
  // The same from right to left: begin of the match that ends at `end`, for a pattern that reads
  // the same both ways.
  size_t match_backwards(std::string_view text, size_t end) const;

 private:
  explicit Automaton(RegexProgram program);
  Status build();
  struct Builder;

  RegexProgram program_;
  CodepointClasses classes_;
  size_t stride_;                // classes, and one column for the end of the text
  std::vector<uint16_t> table_;  // [state][class] -> next state, k_accepts: a match ended before
};

}  // namespace millrace
