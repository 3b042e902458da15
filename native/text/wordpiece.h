#pragma once
// WordPiece (the "bert" tokenizer): text is normalised and cut at white space, punctuation and Han
// characters; each word is covered by the longest tokens from the left, or is unknown as a whole.
// Threads: any (immutable).

#include <memory>

#include "text/tokenizer.h"

namespace millrace {

struct WordPieceOptions {
  int32_t unk = -1;
  bool lowercase = true;
  bool strip_accents = true;
};

// The table must outlive the segmenter.
std::unique_ptr<const Segmenter> create_wordpiece(const TokenTable& table,
                                                  WordPieceOptions options);

}  // namespace millrace
