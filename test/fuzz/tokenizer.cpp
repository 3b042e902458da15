// Fuzz target of the text floor: whatever vocabulary and text the bytes describe, building ends in
// a tokenizer or a coded error, ids lie in the vocabulary, pieces add up to the decoded text, and a
// text stream gives valid UTF-8 that holds no stop string.

#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/utf8.h"
#include "text/pre-tokenizer.h"
#include "text/text-stream.h"
#include "text/tokenizer.h"

namespace {

using namespace millrace;

void require(bool condition) {
  if (!condition) std::abort();
}

// Takes the input apart from the front; an empty rest gives zeros.
class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}
  uint8_t byte() {
    if (rest_.empty()) return 0;
    const auto value = static_cast<uint8_t>(rest_[0]);
    rest_.remove_prefix(1);
    return value;
  }
  std::string_view text(size_t size) {
    const std::string_view out = rest_.substr(0, size);
    rest_.remove_prefix(out.size());
    return out;
  }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

// All rows, compiled once: that takes longer than a run.
const std::vector<PreTokenizer>& all_rows() {
  static const std::vector<PreTokenizer> k_rows = [] {
    std::vector<PreTokenizer> out;
    for (const PreTokenizerRow& row : pre_tokenizer_rows()) {
      auto pre = PreTokenizer::create(row);
      require(pre.ok());
      out.push_back(std::move(*pre));
    }
    return out;
  }();
  return k_rows;
}

// The words of a row cover the text in order.
void check_split(uint8_t row, std::string_view text) {
  if (text.empty()) return;
  std::vector<uint32_t> ends;
  all_rows()[row % all_rows().size()].split(text, ends);
  uint32_t begin = 0;
  for (const uint32_t end : ends) {
    require(end > begin);
    begin = end;
  }
  require(begin == text.size());
}

std::optional<int32_t> maybe_id(uint8_t byte) {
  if (byte < 128) return std::nullopt;
  return static_cast<int32_t>(byte) - 130;  // sometimes outside
}

Vocabulary take_vocabulary(Bytes& bytes) {
  static constexpr const char* k_cheap_rows[] = {"bloom", "gemma4", "sarvam-moe"};
  static const std::vector<std::string> k_alphabet = [] {
    std::vector<std::string> out;
    for (const char c : std::string_view("abAB 1'!\n"))
      out.push_back(c == ' ' ? "\xC4\xA0" : c == '\n' ? "\xC4\x8A" : std::string(1, c));
    return out;
  }();
  Vocabulary out;
  out.algorithm = static_cast<TokenAlgorithm>(bytes.byte() % 3);
  out.pre = k_cheap_rows[bytes.byte() % std::size(k_cheap_rows)];
  for (const std::string& text : k_alphabet) out.texts.push_back(text);
  const size_t n = bytes.byte() % 24;
  for (size_t i = 0; i < n; ++i) out.texts.push_back(bytes.text(bytes.byte() % 12));
  if (const uint8_t wrong = bytes.byte(); wrong % 8 != 1)
    for (size_t i = 0; i < out.texts.size(); ++i) {
      out.scores.push_back(static_cast<float>(bytes.byte()) - 100.0f);
      out.kinds.push_back(static_cast<TokenKind>(bytes.byte() % 7));
    }
  const size_t n_merges = bytes.byte() % 24;
  for (size_t i = 0; i < n_merges; ++i) out.merges.push_back(bytes.text(bytes.byte() % 10));
  out.bos = maybe_id(bytes.byte());
  out.eos = maybe_id(bytes.byte());
  out.unk = maybe_id(bytes.byte());
  out.sep = maybe_id(bytes.byte());
  if (bytes.byte() % 4 == 1) out.model_name = "phi3";
  return out;
}

void check_stream(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, std::string stop) {
  const auto stops = StopStrings::create({stop, "ab"});
  if (!stops.ok()) return;
  TextStream stream(tokenizer, *stops, {true, true});
  std::string shown;
  for (const int32_t id : ids) shown += stream.push(id).text;
  shown += stream.finish().text;
  require(is_valid_utf8(shown));
  require(shown.find("ab") == std::string::npos && shown.find(stop) == std::string::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Bytes bytes(data, size);
  const Vocabulary vocabulary = take_vocabulary(bytes);
  const uint8_t flags = bytes.byte();
  check_split(bytes.byte(), bytes.rest());
  const std::string stop(bytes.text(flags % 5));
  const auto tokenizer = Tokenizer::create(vocabulary);
  if (!tokenizer.ok()) return 0;
  const auto ids = (*tokenizer)->encode(bytes.rest(), {(flags & 1) != 0, (flags & 2) != 0});
  require(ids.ok());
  std::string pieces;
  for (const int32_t id : *ids) {
    require(id >= 0 && id < (*tokenizer)->size());
    pieces += (*tokenizer)->piece(id);
  }
  const std::string text = (*tokenizer)->decode(*ids, {true, false});
  require(pieces.size() == text.size() || pieces.size() == text.size() + 1);
  require(pieces.ends_with(text));
  (*tokenizer)->decode(*ids, {(flags & 4) != 0, true});
  check_stream(**tokenizer, *ids, stop);
  return 0;
}
