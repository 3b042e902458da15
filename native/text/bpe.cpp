#include "text/bpe.h"

#include <array>
#include <atomic>
#include <future>

#include "base/utf8.h"
#include "text/merge-table.h"
#include "text/spaces.h"

namespace millrace {
namespace {

// Bytes that stand for themselves; the others take the code points from U+0100 on, in order.
constexpr bool is_printable(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr std::array<uint16_t, 256> make_alphabet() {
  std::array<uint16_t, 256> out{};
  uint16_t next = 256;
  for (int byte = 0; byte < 256; ++byte)
    out[static_cast<size_t>(byte)] = is_printable(byte) ? static_cast<uint16_t>(byte) : next++;
  return out;
}
constexpr std::array<uint16_t, 256> k_alphabet = make_alphabet();

constexpr std::array<int16_t, 324> make_bytes() {
  std::array<int16_t, 324> out{};
  for (int16_t& byte : out) byte = -1;
  for (size_t byte = 0; byte < 256; ++byte) out[k_alphabet[byte]] = static_cast<int16_t>(byte);
  return out;
}
constexpr std::array<int16_t, 324> k_bytes = make_bytes();

constexpr uint32_t k_closed_limit = 0x10000;  // up to three bytes; others merge byte by byte

constexpr bool is_ascii(char byte) { return static_cast<uint8_t>(byte) < 0x80; }

// A symbol is a token (its id), or a text that takes part in merges without being a token (ids
// from table.size() on).
class Bpe final : public Segmenter {
 public:
  Bpe(const PreTokenizerRow& row, PreTokenizer pre, const TokenTable& table, size_t n_merges)
      : row_(row), pre_(std::move(pre)), table_(table), merges_(n_merges) {}

  Status build(const Vocabulary& vocabulary);
  void encode(std::string_view text, std::vector<int32_t>& ids) const override;

 private:
  enum Whole : uint8_t { k_unasked, k_whole, k_parts };

  // The lowest rank at which a symbol merges with what may stand before and behind its character.
  struct Edges {
    uint32_t before = UINT32_MAX, behind = UINT32_MAX;
    bool begins_inside = false, ends_ascii = false;  // inside: with a continuation byte
  };

  struct Text {
    Text() = default;
    explicit Text(std::string_view value) : text(value), hash(hash_bytes(value)) {}
    std::string_view text;
    uint64_t hash = 0;
  };
  Text asked_for(std::string_view text) const;
  int32_t symbol_of(const Text& text);
  int32_t find_symbol(const Text& text) const;
  void index_words();
  void close_characters();
  int32_t closed_symbol(std::string_view character, const std::vector<Edges>& edges) const;
  void encode_word(std::string_view word, MergeWork& work, std::vector<int32_t>& ids) const;
  bool is_whole(int32_t id, std::string_view word, MergeWork& work) const;
  void merge_word(std::string_view word, MergeWork& work) const;
  void emit(std::string_view word, const Symbol& symbol, std::vector<int32_t>& ids) const;

  const PreTokenizerRow& row_;
  PreTokenizer pre_;
  const TokenTable& table_;
  MergeTable merges_;
  std::array<int32_t, 256> byte_symbols_{};  // byte-level only
  std::vector<int32_t> closed_;              // by code point: its symbol if it is closed, else -1
  StringArena extra_texts_;                  // symbols that are no tokens
  TextIndex extras_;
  StringArena words_;  // by token id: the bytes that a word must be to be this token
  TextIndex word_index_;
  // Whether merging a token's own bytes gives that token; a pure function of the vocabulary, so
  // threads that ask at the same time write the same answer.
  mutable std::vector<std::atomic<uint8_t>> whole_;
};

int32_t Bpe::find_symbol(const Text& text) const {
  const int32_t token = table_.find(text.text, text.hash);
  if (token >= 0) return token;
  const int32_t extra = extras_.find(extra_texts_, text.text, text.hash);
  return extra < 0 ? -1 : table_.size() + extra;
}

Bpe::Text Bpe::asked_for(std::string_view text) const {
  const Text out(text);
  table_.prefetch(out.hash);
  return out;
}

int32_t Bpe::symbol_of(const Text& text) {
  const int32_t symbol = find_symbol(text);
  if (symbol >= 0) return symbol;
  extra_texts_.push(text.text);
  extras_.insert(extra_texts_, extra_texts_.size() - 1);
  return table_.size() + extra_texts_.size() - 1;
}

Status Bpe::build(const Vocabulary& vocabulary) {
  std::future<void> words =
      std::async([this] { index_words(); });  // meanwhile; merges touch none of it
  for (size_t byte = 0; byte < 256; ++byte) {
    const char text = static_cast<char>(byte);
    byte_symbols_[byte] =
        row_.escapes_spaces ? -1 : symbol_of(asked_for(to_byte_alphabet({&text, 1})));
  }
  // A merge misses the caches three times, so each memory is asked for some merges before.
  constexpr size_t k_ahead = 8;
  struct Pending {
    Text left, right;
    int32_t left_id, right_id, merged_id;
  };
  std::array<Pending, 2 * k_ahead> pending;
  const size_t n = vocabulary.merges.size();
  std::string merged;
  int32_t last = -2;  // results mostly follow one another
  for (size_t i = 0; i < n + 2 * k_ahead; ++i) {
    Pending& now = pending[i % (2 * k_ahead)];
    if (i >= 2 * k_ahead)
      merges_.insert(now.left_id, now.right_id,
                     {static_cast<uint32_t>(i - 2 * k_ahead), now.merged_id});
    if (i >= k_ahead && i < n + k_ahead) {
      Pending& half = pending[(i - k_ahead) % (2 * k_ahead)];
      half.left_id = symbol_of(half.left);
      half.right_id = symbol_of(half.right);
      merges_.prefetch(half.left_id, half.right_id);
      merged.assign(half.left.text);
      merged += half.right.text;
      const bool follows = table_.contains(last + 1) && table_.text(last + 1) == merged;
      half.merged_id = last = follows ? last + 1 : symbol_of(asked_for(merged));
    }
    if (i >= n) continue;
    const std::string_view merge = vocabulary.merges[i];
    const size_t space = merge.size() > 1 ? merge.find(' ', 1) : std::string_view::npos;
    if (space == std::string_view::npos || space + 1 == merge.size())
      return error(ErrorCode::bad_file,
                   "Expected tokenizer.ggml.merges[%zu] to be two texts with a space between but "
                   "found \"%.*s\"",
                   i, static_cast<int>(std::min<size_t>(merge.size(), 80)), merge.data());
    now.left = asked_for(merge.substr(0, space));
    now.right = asked_for(merge.substr(space + 1));
  }
  words.get();
  if (!row_.escapes_spaces) close_characters();
  return {};
}

// A character is closed when its bytes merge to one symbol, and each merge across its edges, on the
// way there and then, ranks behind all of those. The lowest rank of a text merges first, so in any
// text the result is the same as if the character had been one symbol from the start, which saves
// the merges inside it. Asked for after another character of several bytes: many merges take a
// space and a lead byte.
void Bpe::close_characters() {
  std::vector<Edges> edges(static_cast<size_t>(table_.size() + extra_texts_.size()));
  for (int32_t id = 0; id < table_.size(); ++id)
    if (const std::string_view word = words_.at(id); !word.empty()) {
      edges[static_cast<size_t>(id)].begins_inside = is_continuation(word.front());
      edges[static_cast<size_t>(id)].ends_ascii = is_ascii(word.back());
    }
  merges_.for_each([&](int32_t left, int32_t right, Merge merge) {
    Edges& first = edges[static_cast<size_t>(left)];
    Edges& second = edges[static_cast<size_t>(right)];
    if (!second.begins_inside) first.behind = std::min(first.behind, merge.key);
    if (!first.ends_ascii) second.before = std::min(second.before, merge.key);
  });
  closed_.assign(k_closed_limit, -1);
  for (int32_t id = 0; id < table_.size(); ++id) {
    const std::string_view word = words_.at(id);
    if (word.size() < 2 || word.size() > 3 || !is_valid_utf8(word)) continue;
    const Decoded decoded = decode_lenient(word, 0);
    if (decoded.length == word.size()) closed_[decoded.codepoint] = closed_symbol(word, edges);
  }
}

int32_t Bpe::closed_symbol(std::string_view character, const std::vector<Edges>& edges) const {
  std::array<int32_t, 3> symbols{};
  size_t n = 0;
  for (const char byte : character) symbols[n++] = byte_symbols_[static_cast<uint8_t>(byte)];
  uint32_t highest_inside = 0, lowest_across = UINT32_MAX;
  while (true) {
    lowest_across = std::min({lowest_across, edges[static_cast<size_t>(symbols[0])].before,
                              edges[static_cast<size_t>(symbols[n - 1])].behind});
    if (lowest_across <= highest_inside) return -1;
    if (n == 1) return symbols[0];
    Merge lowest{UINT32_MAX, -1};
    size_t at = 0;
    for (size_t i = 0; i + 1 < n; ++i)
      if (const Merge merge = merges_.find(symbols[i], symbols[i + 1]);
          merge.merged >= 0 && merge.key < lowest.key)
        lowest = merge, at = i;
    if (lowest.merged < 0) return -1;
    highest_inside = std::max(highest_inside, lowest.key);
    symbols[at] = lowest.merged;
    if (at + 2 < n) symbols[at + 1] = symbols[at + 2];
    --n;
  }
}

void Bpe::index_words() {
  words_.reserve(static_cast<size_t>(table_.size()), static_cast<size_t>(table_.size()) * 8);
  std::string bytes;
  for (int32_t id = 0; id < table_.size(); ++id) {
    const std::string_view text = table_.text(id);
    const bool is_word = row_.escapes_spaces || from_byte_alphabet(text, bytes);
    words_.push(!is_word ? std::string_view() : row_.escapes_spaces ? text : bytes);
  }
  word_index_.insert_all(words_);
  whole_ = std::vector<std::atomic<uint8_t>>(static_cast<size_t>(table_.size()));
}

void Bpe::encode(std::string_view text, std::vector<int32_t>& ids) const {
  std::string changed;
  if (!is_valid_utf8(text)) {
    changed.reserve(text.size());
    for (size_t at = 0; at < text.size();) {
      const Decoded decoded = decode_lenient(text, at);
      append_utf8(changed, decoded.codepoint);
      at += decoded.length;
    }
    text = changed;
  }
  std::string escaped;
  if (row_.escapes_spaces) {
    escaped = escape_spaces(text);
    text = escaped;
  }
  std::vector<uint32_t> ends;
  pre_.split(text, ends);
  MergeWork work;
  size_t begin = 0;
  for (const uint32_t end : ends) {
    encode_word(text.substr(begin, end - begin), work, ids);
    begin = end;
  }
}

void Bpe::encode_word(std::string_view word, MergeWork& work, std::vector<int32_t>& ids) const {
  const int32_t id = word_index_.find(words_, word);
  if (id >= 0 && is_whole(id, word, work)) {
    ids.push_back(id);
    return;
  }
  merge_word(word, work);
  for (const Symbol& symbol : work.symbols) emit(word, symbol, ids);
}

bool Bpe::is_whole(int32_t id, std::string_view word, MergeWork& work) const {
  if (row_.ignore_merges) return true;
  if (row_.whole_newlines && word.find_first_not_of('\n') == std::string_view::npos) return true;
  std::atomic<uint8_t>& known = whole_[static_cast<size_t>(id)];
  uint8_t answer = known.load(std::memory_order_relaxed);
  if (answer == k_unasked) {
    merge_word(word, work);
    answer = work.symbols.size() == 1 && work.symbols[0].id == id ? k_whole : k_parts;
    known.store(answer, std::memory_order_relaxed);
  }
  return answer == k_whole;
}

void Bpe::merge_word(std::string_view word, MergeWork& work) const {
  work.symbols.clear();
  bool after_character = true;  // or at the begin
  for (uint32_t at = 0; at < word.size();) {
    Symbol symbol{0, at, 1};
    if (row_.escapes_spaces) {
      symbol.length =
          static_cast<uint32_t>(std::min<size_t>(announced_length(word[at]), word.size() - at));
      symbol.id = find_symbol(Text(word.substr(at, symbol.length)));
    } else {
      symbol.id = byte_symbols_[static_cast<uint8_t>(word[at])];
      if (after_character && !is_ascii(word[at]) && !is_continuation(word[at])) {
        const Decoded decoded = decode_lenient(word, at);
        const int32_t id = decoded.codepoint < k_closed_limit ? closed_[decoded.codepoint] : -1;
        if (id >= 0) symbol = {id, at, decoded.length};
      }
      after_character = !is_ascii(word[at]);
    }
    at += symbol.length;
    work.symbols.push_back(symbol);
  }
  merge_all(work, [&](const Symbol& left, const Symbol& right) {
    return left.id < 0 || right.id < 0 ? Merge{0, -1} : merges_.find(left.id, right.id);
  });
}

// A symbol that is no token gives its bytes' tokens where the vocabulary has them; the reference
// leaves the others out. In a byte-level vocabulary it only finds those that print as ASCII.
void Bpe::emit(std::string_view word, const Symbol& symbol, std::vector<int32_t>& ids) const {
  if (symbol.id >= 0 && symbol.id < table_.size()) {
    ids.push_back(symbol.id);
    return;
  }
  for (const char c : word.substr(symbol.begin, symbol.length)) {
    const auto byte = static_cast<uint8_t>(c);
    int32_t id = -1;
    if (row_.escapes_spaces)
      id = table_.find_byte(byte);
    else if (byte < 0x80 && is_printable(byte))
      id = table_.find({&c, 1});
    if (id >= 0) ids.push_back(id);
  }
}

}  // namespace

bool from_byte_alphabet(std::string_view text, std::string& bytes) {
  bytes.clear();
  for (size_t at = 0; at < text.size();) {
    uint32_t codepoint = static_cast<uint8_t>(text[at]);
    uint32_t length = 1;
    if (codepoint >= 0x80) {
      const Decoded decoded = decode_lenient(text, at);
      if (!decoded.valid || decoded.codepoint >= k_bytes.size()) return false;
      codepoint = decoded.codepoint;
      length = decoded.length;
    }
    if (k_bytes[codepoint] < 0) return false;
    bytes.push_back(static_cast<char>(k_bytes[codepoint]));
    at += length;
  }
  return true;
}

std::string to_byte_alphabet(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) append_utf8(text, k_alphabet[static_cast<uint8_t>(byte)]);
  return text;
}

Result<std::unique_ptr<const Segmenter>> create_bpe(const Vocabulary& vocabulary,
                                                    const PreTokenizerRow& row,
                                                    const TokenTable& table) {
  auto pre = PreTokenizer::create(row);
  TRY(pre);
  auto bpe = std::make_unique<Bpe>(row, std::move(*pre), table, vocabulary.merges.size());
  TRY(bpe->build(vocabulary));
  return std::unique_ptr<const Segmenter>(std::move(bpe));
}

}  // namespace millrace
