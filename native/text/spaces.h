#pragma once
// The mark that SentencePiece vocabularies write for a space, U+2581.
// Threads: pure functions.

#include <string>
#include <string_view>

namespace millrace {

inline constexpr std::string_view k_space_mark = "\xE2\x96\x81";

std::string escape_spaces(std::string_view text);    // " " to the mark
std::string unescape_spaces(std::string_view text);  // and back

}  // namespace millrace
