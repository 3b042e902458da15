#include "text/spm.h"

#include <array>
#include <bit>

#include "base/utf8.h"
#include "text/merge.h"
#include "text/spaces.h"

namespace millrace {
namespace {

// Higher scores get lower keys.
uint32_t key_of(float score) {
  const uint32_t bits = std::bit_cast<uint32_t>(score == 0 ? 0.0f : score);  // -0 is 0
  const uint32_t ascending = (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
  return ~ascending;
}

// True when no token holds a space mark behind another character: then no merge can cross from a
// character to a space mark, and text may be cut there.
bool marks_only_begin(const TokenTable& table) {
  for (int32_t id = 0; id < table.size(); ++id) {
    const std::string_view text = table.text(id);
    for (size_t at = text.find(k_space_mark); at != std::string_view::npos;
         at = text.find(k_space_mark, at + 1))
      if (at > 0 && !text.substr(0, at).ends_with(k_space_mark)) return false;
  }
  return true;
}

class Spm final : public Segmenter {
 public:
  Spm(const TokenTable& table, int32_t unk) : table_(table), cuts_(marks_only_begin(table)) {
    for (size_t byte = 0; byte < 256; ++byte) {
      const char text = static_cast<char>(byte);
      int32_t id = table.find_byte(static_cast<uint8_t>(byte));
      if (id < 0) id = table.find({&text, 1});
      bytes_[byte] = id >= 0 ? id : unk;
    }
  }

  void encode(std::string_view text, std::vector<int32_t>& ids) const override {
    const std::string escaped = escape_spaces(text);
    const std::string_view all = escaped;
    // A broken sequence may swallow the mark behind it: then nothing is sure.
    const bool cuts = cuts_ && is_valid_utf8(text);
    MergeWork work;
    size_t begin = 0;
    while (begin < all.size()) {
      const size_t end = cuts ? end_of_word(all, begin) : all.size();
      encode_word(all.substr(begin, end - begin), work, ids);
      begin = end;
    }
  }

 private:
  // The place before the next space mark that follows another character.
  static size_t end_of_word(std::string_view text, size_t begin) {
    size_t at = begin;
    while (text.substr(at).starts_with(k_space_mark)) at += k_space_mark.size();
    at = text.find(k_space_mark, at);
    return at == std::string_view::npos ? text.size() : at;
  }

  void encode_word(std::string_view word, MergeWork& work, std::vector<int32_t>& ids) const {
    work.symbols.clear();
    for (uint32_t at = 0; at < word.size();) {
      const auto length =
          static_cast<uint32_t>(std::min<size_t>(announced_length(word[at]), word.size() - at));
      work.symbols.push_back({table_.find(word.substr(at, length)), at, length});
      at += length;
    }
    merge_all(work, [&](const Symbol& left, const Symbol& right) {
      const int32_t id = table_.find(word.substr(left.begin, left.length + right.length));
      return id < 0 ? Merge{0, -1} : Merge{key_of(table_.score(id)), id};
    });
    for (const Symbol& symbol : work.symbols) {
      if (symbol.id >= 0) {
        ids.push_back(symbol.id);
        continue;
      }
      for (const char byte : word.substr(symbol.begin, symbol.length))
        if (const int32_t id = bytes_[static_cast<uint8_t>(byte)]; id >= 0) ids.push_back(id);
    }
  }

  const TokenTable& table_;
  bool cuts_;
  std::array<int32_t, 256> bytes_{};
};

}  // namespace

std::unique_ptr<const Segmenter> create_spm(const TokenTable& table, int32_t unk) {
  return std::make_unique<Spm>(table, unk);
}

}  // namespace millrace
