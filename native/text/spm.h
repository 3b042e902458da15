#pragma once
// SentencePiece-style encoding (the "llama" tokenizer): spaces become U+2581, characters merge
// into tokens, the pair whose token has the highest score first; what is no token in the end is
// written byte by byte.
// Threads: any (immutable).

#include <memory>

#include "text/tokenizer.h"

namespace millrace {

// The table must outlive the segmenter. `unk`: for bytes that have no token.
std::unique_ptr<const Segmenter> create_spm(const TokenTable& table, int32_t unk);

}  // namespace millrace
