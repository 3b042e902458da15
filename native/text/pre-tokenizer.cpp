#include "text/pre-tokenizer.h"

#include <algorithm>

#include "base/utf8.h"

namespace millrace {
namespace {

// Ends of the pieces of text[begin, end) that a pass from the left makes.
void cut_from_left(const Automaton& automaton, std::string_view text, size_t begin, size_t end,
                   std::vector<uint32_t>& ends) {
  const std::string_view piece = text.substr(0, end);
  Automaton::Scan scan;
  size_t gap = begin, at = begin;
  while (at < end) {
    const size_t match_end = automaton.match(piece, at, scan);
    if (match_end == Automaton::k_no_match) {
      at += decode_lenient(piece, at).length;
      continue;
    }
    if (gap < at) ends.push_back(static_cast<uint32_t>(at));
    ends.push_back(static_cast<uint32_t>(match_end));
    gap = at = match_end;
  }
  if (gap < end) ends.push_back(static_cast<uint32_t>(end));
}

void cut_from_right(const Automaton& automaton, PassKind kind, std::string_view piece,
                    size_t offset, std::vector<uint32_t>& ends) {
  const size_t first = ends.size();
  ends.push_back(static_cast<uint32_t>(offset + piece.size()));
  size_t at = piece.size();
  while (at > 0) {
    const size_t begin = automaton.match_backwards(piece, at);
    if (begin == Automaton::k_no_match) {
      do --at;
      while (at > 0 && is_continuation(piece[at]));
      continue;
    }
    const size_t cut = kind == PassKind::starts_from_right ? begin : at;
    if (cut > 0 && offset + cut != ends.back()) ends.push_back(static_cast<uint32_t>(offset + cut));
    at = begin;
  }
  std::reverse(ends.begin() + static_cast<ptrdiff_t>(first), ends.end());
}

}  // namespace

Result<const PreTokenizerRow*> find_pre_tokenizer(std::string_view name) {
  const std::string_view wanted = name.empty() ? "default" : name;
  std::vector<std::string_view> known;
  for (const PreTokenizerRow& row : pre_tokenizer_rows())
    for (const char* row_name : row.names) {
      if (wanted == row_name) return &row;
      known.push_back(row_name);
    }
  std::sort(known.begin(), known.end());
  std::string list;
  for (const std::string_view row_name : known) {
    if (!list.empty()) list += ", ";
    list += row_name;
  }
  return Status(ErrorCode::unsupported,
                "Expected \"tokenizer.ggml.pre\" to be a known pre-tokenizer "
                "but found \"" +
                    std::string(wanted) + "\"; known are: " + list);
}

Result<PreTokenizer> PreTokenizer::create(const PreTokenizerRow& row) {
  PreTokenizer out;
  for (const PrePass& pass : row.passes) {
    auto automaton = Automaton::compile(pass.pattern);
    TRY(automaton);
    out.passes_.push_back({std::move(*automaton), pass.kind});
  }
  return out;
}

void PreTokenizer::split(std::string_view text, std::vector<uint32_t>& ends) const {
  ends.assign(1, static_cast<uint32_t>(text.size()));
  std::vector<uint32_t> before;
  for (const Pass& pass : passes_) {
    before.swap(ends);
    ends.clear();
    size_t begin = 0;
    for (const uint32_t end : before) {
      if (pass.kind == PassKind::both)
        cut_from_left(pass.automaton, text, begin, end, ends);
      else
        cut_from_right(pass.automaton, pass.kind, text.substr(begin, end - begin), begin, ends);
      begin = end;
    }
  }
}

}  // namespace millrace
