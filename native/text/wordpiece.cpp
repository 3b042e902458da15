#include "text/wordpiece.h"

#include <algorithm>

#include "base/utf8.h"
#include "text/spaces.h"

namespace millrace {
namespace {

// As the reference has it, the odd begin of the sixth range included.
constexpr uint32_t k_han[][2] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF},
                                 {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF},
                                 {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};

bool is_han(uint32_t codepoint) {
  return std::any_of(std::begin(k_han), std::end(k_han), [&](const auto& range) {
    return codepoint >= range[0] && codepoint <= range[1];
  });
}

class WordPiece final : public Segmenter {
 public:
  WordPiece(const TokenTable& table, WordPieceOptions options) : table_(table), options_(options) {
    for (int32_t id = 0; id < table.size(); ++id)
      longest_ = std::max(longest_, table.text(id).size());
  }

  void encode(std::string_view text, std::vector<int32_t>& ids) const override {
    std::string word(k_space_mark);  // a word begins with a space mark
    const auto flush = [&] {
      if (word.size() == k_space_mark.size()) return;
      encode_word(word, ids);
      word.resize(k_space_mark.size());
    };
    for (size_t at = 0; at < text.size();) {
      const Decoded decoded = decode_lenient(text, at);
      at += decoded.length;
      uint32_t point = decoded.codepoint;
      if (options_.strip_accents) point = decompose(point);
      if (is_whitespace(point)) {
        flush();
        continue;
      }
      const Category category = category_of(point);
      if (point == 0 || point == k_replacement || category == Category::control) continue;
      if (options_.strip_accents && category == Category::mark) continue;
      const bool alone = category == Category::punctuation ||
                         (point < 0x7F && category == Category::symbol) || is_han(point);
      if (alone) flush();
      append_utf8(word, options_.lowercase ? to_lower(point) : point);
      if (alone) flush();
    }
    flush();
  }

 private:
  void encode_word(std::string_view word, std::vector<int32_t>& ids) const {
    const size_t before = ids.size();
    for (size_t at = 0; at < word.size();) {
      size_t length = std::min(word.size() - at, longest_);
      int32_t id = -1;
      for (; length > 0; --length)
        if ((id = table_.find(word.substr(at, length))) >= 0) break;
      if (id < 0) {
        ids.resize(before);
        ids.push_back(options_.unk);
        return;
      }
      ids.push_back(id);
      at += length;
    }
  }

  const TokenTable& table_;
  WordPieceOptions options_;
  size_t longest_ = 0;
};

}  // namespace

std::unique_ptr<const Segmenter> create_wordpiece(const TokenTable& table,
                                                  WordPieceOptions options) {
  return std::make_unique<WordPiece>(table, options);
}

}  // namespace millrace
