#pragma once
// Tokens of one sequence to text that may be shown now: valid UTF-8, never ending inside a
// character or inside what may become a stop string; a stop string never appears.
// Bytes that cannot be UTF-8 become U+FFFD as in the web's TextDecoder.
// Threads: StopStrings is immutable, any thread; a TextStream belongs to one thread at a time.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer.h"

namespace millrace {

// The stop strings of one request as an automaton (Aho and Corasick 1975) over bytes.
class StopStrings {
 public:
  // Refuses an empty string, one that is not valid UTF-8, and more than 4 KiB in all.
  static Result<std::shared_ptr<const StopStrings>> create(const std::vector<std::string>& stops);

  int next(int state, uint8_t byte) const { return next_[static_cast<size_t>(state) * 256 + byte]; }
  // Bytes at the end of the text so far that may begin a stop string.
  int depth(int state) const { return depth_[static_cast<size_t>(state)]; }
  // Length of the longest stop string that ends here; 0: none.
  int matched(int state) const { return matched_[static_cast<size_t>(state)]; }

 private:
  std::vector<int32_t> next_;  // [state][byte]
  std::vector<int32_t> depth_, matched_;
};

struct TextStreamOptions {
  bool special = false;        // render control tokens as text
  bool at_text_start = false;  // nothing precedes: drop the leading space that the vocabulary adds
};

struct TextPiece {
  std::string text;      // valid UTF-8, perhaps empty
  int utf16_units = 0;   // of text
  bool stopped = false;  // a stop string came: `text` ends before it and nothing follows
};

class TextStream {
 public:
  // `stops` may be null: none. The tokenizer must outlive the stream.
  TextStream(const Tokenizer& tokenizer, std::shared_ptr<const StopStrings> stops,
             TextStreamOptions options);

  // What may be shown after this token. After `stopped` nothing more comes.
  TextPiece push(int32_t token);
  // The rest, when no token follows: a broken character as U+FFFD, and what was held back.
  TextPiece finish();

  bool stopped() const { return stopped_; }

 private:
  void take(uint8_t byte);
  void break_character();
  void append(std::string_view character);
  TextPiece release(bool all);

  const Tokenizer* tokenizer_;
  std::shared_ptr<const StopStrings> stops_;
  TextStreamOptions options_;
  std::string held_;      // valid UTF-8 not shown yet
  char partial_[4] = {};  // a character of which n_partial_ bytes have come
  int n_partial_ = 0, n_expected_ = 0;
  uint8_t low_ = 0x80, high_ = 0xBF;  // what the next continuation byte may be
  int state_ = 0;
  bool stopped_ = false;
};

}  // namespace millrace
