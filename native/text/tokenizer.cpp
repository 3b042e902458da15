#include "text/tokenizer.h"

#include <future>

#include "text/bpe.h"
#include "text/spaces.h"
#include "text/spm.h"
#include "text/wordpiece.h"

namespace millrace {
namespace {

constexpr size_t k_max_text_bytes = size_t{1} << 30;

// By TokenKind.
constexpr uint16_t k_attributes[] = {0,
                                     k_token_normal,
                                     k_token_unknown,
                                     k_token_control,
                                     k_token_user_defined,
                                     k_token_unused,
                                     k_token_byte};

// Every list has one entry per token, or is empty where that has a meaning.
Status check_counts(const Vocabulary& vocabulary) {
  const size_t n = vocabulary.texts.size();
  if (n == 0 || n > static_cast<size_t>(INT32_MAX) / 2)
    return error(ErrorCode::bad_file, "Expected a vocabulary of at least one token but found %zu",
                 n);
  const auto agrees = [&](size_t count) { return count == 0 || count == n; };
  if (!agrees(vocabulary.scores.size()) || !agrees(vocabulary.kinds.size()))
    return error(ErrorCode::bad_file,
                 "Expected one score and one type for each of %zu tokens but found %zu and %zu", n,
                 vocabulary.scores.size(), vocabulary.kinds.size());
  size_t bytes = 0;
  for (const std::string_view text : vocabulary.texts) bytes += text.size();
  if (bytes > k_max_text_bytes)
    return error(ErrorCode::bad_file,
                 "Expected the tokens' texts to be at most %zu bytes but found %zu",
                 k_max_text_bytes, bytes);
  return {};
}

void fill_table(const Vocabulary& vocabulary, TokenTable& table) {
  size_t bytes = 0;
  for (const std::string_view text : vocabulary.texts) bytes += text.size();
  table.reserve(vocabulary.texts.size(), bytes);
  for (size_t i = 0; i < vocabulary.texts.size(); ++i) {
    const std::string_view text = vocabulary.texts[i];
    const float score = vocabulary.scores.empty() ? 0.0f : vocabulary.scores[i];
    const TokenKind kind = vocabulary.kinds.empty() ? TokenKind::normal : vocabulary.kinds[i];
    const uint16_t attributes = k_attributes[static_cast<size_t>(kind)];
    if (text.empty())
      table.push("[EMPTY_" + std::to_string(i) + "]", score, attributes);
    else
      table.push(text, score, attributes);
  }
  table.index();
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 0;
}

// The bytes that a token stands for. `marks`: the vocabulary writes U+2581 for a space.
std::string piece_of(const TokenTable& table, int32_t id, bool marks) {
  const std::string_view text = table.text(id);
  if (table.has(id, k_token_unknown | k_token_control | k_token_user_defined))
    return std::string(text);
  if (table.has(id, k_token_normal)) {
    if (marks) return unescape_spaces(text);
    std::string bytes;
    return from_byte_alphabet(text, bytes) ? bytes : std::string(text);
  }
  if (table.has(id, k_token_byte) && text.size() >= 5)  // "<0xNN>"
    return std::string(1, static_cast<char>(hex_digit(text[3]) * 16 + hex_digit(text[4])));
  return {};
}

// Spaces that a byte-level decoder leaves and llama_detokenize takes out, in its three passes.
// Each looks at the text before the pass, so one space may go per pass.
std::string drop_before_marks(std::string_view text) {  // " ?" " !" " ." " ,"
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool closes = c == '?' || c == '!' || c == '.' || c == ',';
    if (closes && i > 0 && text[i - 1] == ' ') out.pop_back();
    out.push_back(c);
  }
  return out;
}

std::string drop_around_apostrophes(std::string text) {  // " ' "
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\'' && i > 0 && i + 1 < text.size() && text[i - 1] == ' ' && text[i + 1] == ' ') {
      out.pop_back();
      text[++i] = '\0';  // gone, and no space for the next
    }
    out.push_back(c);
  }
  return out;
}

std::string drop_before_endings(std::string_view text) {  // " 's" " 'm" " 're" " 've"
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const std::string_view rest = text.substr(i);
    const bool ending = rest.starts_with("'s") || rest.starts_with("'m") ||
                        rest.starts_with("'re") || rest.starts_with("'ve");
    if (ending && i > 0 && text[i - 1] == ' ') out.pop_back();
    out.push_back(text[i]);
  }
  return out;
}

std::string clean(std::string_view text) {
  return drop_before_endings(drop_around_apostrophes(drop_before_marks(text)));
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> Tokenizer::create(const Vocabulary& vocabulary) {
  TRY(check_counts(vocabulary));
  const bool is_bpe = vocabulary.algorithm == TokenAlgorithm::bpe;
  const PreTokenizerRow* row = nullptr;
  if (is_bpe) {
    const auto found = find_pre_tokenizer(vocabulary.pre);
    TRY(found);
    row = *found;
  }
  const auto out = std::make_shared<Tokenizer>();
  out->algorithm_ = vocabulary.algorithm;
  fill_table(vocabulary, out->table_);
  auto special = find_special_tokens(vocabulary, row, out->table_);
  TRY(special);
  out->special_ = std::move(*special);
  out->ends_.resize(vocabulary.texts.size());
  for (const int32_t id : out->special_.ends) out->ends_[static_cast<size_t>(id)] = true;
  out->matcher_ = SpecialMatcher(out->table_);
  const bool marks = !is_bpe || row->escapes_spaces;
  std::future<void> pieces = std::async([&table = out->table_, &pieces = out->pieces_, marks] {
    for (int32_t id = 0; id < table.size(); ++id) pieces.push(piece_of(table, id, marks));
  });
  if (is_bpe) {
    auto segmenter = create_bpe(vocabulary, *row, out->table_);
    TRY(segmenter);
    out->segmenter_ = std::move(*segmenter);
  } else if (vocabulary.algorithm == TokenAlgorithm::spm) {
    out->segmenter_ = create_spm(out->table_, out->special_.unk);
  } else {
    const bool lowercase = vocabulary.lowercase.value_or(true);
    out->segmenter_ = create_wordpiece(
        out->table_, {out->special_.unk, lowercase, vocabulary.strip_accents.value_or(lowercase)});
  }
  pieces.get();
  return std::shared_ptr<const Tokenizer>(out);
}

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  if (text.size() > k_max_text_bytes)
    return error(ErrorCode::too_long, "Expected a text of at most %zu bytes but received %zu",
                 k_max_text_bytes, text.size());
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 4 + 4);
  if (options.add_special && special_.add_bos && special_.bos >= 0) ids.push_back(special_.bos);
  bool after_special = true;
  for (const Fragment& fragment : matcher_.split(table_, text, options.parse_special)) {
    if (fragment.token >= 0)
      ids.push_back(fragment.token);
    else
      encode_fragment(fragment.text, after_special, ids);
    after_special = fragment.token >= 0;
  }
  if (options.add_special && special_.add_sep && special_.sep >= 0) ids.push_back(special_.sep);
  if (options.add_special && special_.add_eos && special_.eos >= 0) ids.push_back(special_.eos);
  return ids;
}

void Tokenizer::encode_fragment(std::string_view text, bool after_special,
                                std::vector<int32_t>& ids) const {
  const bool prefix = algorithm_ == TokenAlgorithm::spm && special_.add_space_prefix;
  if (!prefix || !after_special) return segmenter_->encode(text, ids);
  std::string with_space(1, ' ');
  with_space += text;
  segmenter_->encode(with_space, ids);
}

std::string Tokenizer::decode(std::span<const int32_t> ids, DecodeOptions options) const {
  std::string text;
  bool at_start = special_.add_space_prefix;  // where the vocabulary has added a space
  for (const int32_t id : ids) {
    if (!options.special && is_special(id)) continue;
    std::string_view bytes = piece(id);
    if (at_start && bytes.starts_with(' ')) bytes.remove_prefix(1);
    at_start = false;
    text += bytes;
  }
  return options.clean_spaces && special_.clean_spaces ? clean(text) : text;
}

}  // namespace millrace
