#pragma once
// Byte-pair encoding: text is cut into words, and inside a word the pair of neighbours with the
// lowest rank merges first, until no pair has one.
// Threads: any (immutable).

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "text/pre-tokenizer.h"
#include "text/tokenizer.h"

namespace millrace {

// The 256 bytes as the printable characters that byte-level vocabularies write for them.
// Bytes of a text in that alphabet; false when a character is not of it.
bool from_byte_alphabet(std::string_view text, std::string& bytes);
std::string to_byte_alphabet(std::string_view bytes);

// The table must outlive the segmenter.
Result<std::unique_ptr<const Segmenter>> create_bpe(const Vocabulary& vocabulary,
                                                    const PreTokenizerRow& row,
                                                    const TokenTable& table);

}  // namespace millrace
