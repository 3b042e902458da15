#include "text/special-tokens.h"

#include <algorithm>
#include <cctype>
#include <numeric>

namespace millrace {
namespace {

// Texts that files often fail to announce by id; all as llama.cpp recognises them. The ends of a
// turn end a generation, and so do the further ones.
constexpr std::string_view k_turn_ends[] = {
    "<|eot_id|>",        "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>",
    "<|end_of_text|>",   "<EOT>",      "_<EOT>",  "[EOT]",         "<｜end▁of▁sentence｜>",
    "<end_of_utterance>"};
constexpr std::string_view k_further_ends[] = {
    "<|return|>", "<|call|>", "<|flush|>", "<|calls|>",        "</s>", "<|eom_id|>",
    "[EOS]",      "<eos>",    "<turn|>",   "<|tool_response>", "[e~["};
constexpr std::string_view k_pads[] = {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"};
constexpr std::string_view k_repositories[] = {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>",
                                               "<REPO>", "<reponame>"};
constexpr std::string_view k_separators[] = {"<|file_sep|>"};
constexpr std::string_view k_message_ends[] = {"<|eom_id|>"};
// Marks inside a fill-in-the-middle prompt: control tokens, but no end.
constexpr std::string_view k_middles[] = {
    "<|fim_prefix|>", "<fim-prefix>",    "<fim_prefix>",    "<｜fim▁begin｜>", "<PRE>",
    "▁<PRE>",         "<|code_prefix|>", "<|prefix|>",      "<|fim_suffix|>",  "<fim-suffix>",
    "<fim_suffix>",   "<｜fim▁hole｜>",  "<SUF>",           "▁<SUF>",          "<|code_suffix|>",
    "<|suffix|>",     "<|fim_middle|>",  "<fim-middle>",    "<fim_middle>",    "<｜fim▁end｜>",
    "<MID>",          "▁<MID>",          "<|code_middle|>", "<|middle|>"};
// Always shown: the channels of gpt-oss.
constexpr std::string_view k_shown[] = {"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"};

class Finder {
 public:
  Finder(const Vocabulary& vocabulary, const PreTokenizerRow* row, TokenTable& table)
      : vocabulary_(vocabulary), row_(row), table_(table) {}

  SpecialTokens find() {
    set_ids();
    set_flags();
    for (const std::string_view text : k_middles) mark_control(table_.find(text));
    add_ends();
    show_channels();
    drop_false_ends();
    set_strips();
    std::sort(out_.ends.begin(), out_.ends.end());
    return std::move(out_);
  }

 private:
  // The file's id where it lies inside the vocabulary, else the algorithm's where that does.
  int32_t pick(const std::optional<int32_t>& id, int32_t otherwise) const {
    if (id && table_.contains(*id)) return *id;
    return table_.contains(otherwise) ? otherwise : -1;
  }

  void set_ids() {
    int32_t bos = 11, eos = 11, unk = -1, sep = -1;  // bpe, as llama.cpp has it
    if (row_ != nullptr && !row_->has_default_bos) bos = -1;
    if (vocabulary_.algorithm == TokenAlgorithm::spm) {
      bos = 1, eos = 2, unk = 0;
    } else if (vocabulary_.algorithm == TokenAlgorithm::wordpiece) {
      bos = 101, eos = -1, unk = 100, sep = 102;
    }
    out_.bos = pick(vocabulary_.bos, bos);
    out_.eos = pick(vocabulary_.eos, eos);
    out_.unk = pick(vocabulary_.unk, unk);
    out_.sep = pick(vocabulary_.sep, sep);
    out_.eot = found(pick(vocabulary_.eot, -1), k_turn_ends);
    out_.eom = found(pick(vocabulary_.eom, -1), k_message_ends);
  }

  void set_flags() {
    const TokenAlgorithm algorithm = vocabulary_.algorithm;
    const bool spm = algorithm == TokenAlgorithm::spm;
    const bool wordpiece = algorithm == TokenAlgorithm::wordpiece;
    out_.add_bos = vocabulary_.add_bos.value_or(row_ != nullptr ? row_->add_bos : true);
    if (row_ != nullptr && row_->whole_newlines) out_.add_bos = true;
    if (wordpiece) out_.add_bos = true;
    out_.add_eos = vocabulary_.add_eos.value_or(false) && !wordpiece;
    out_.add_sep = wordpiece;
    out_.add_space_prefix = vocabulary_.add_space_prefix.value_or(spm);
    out_.clean_spaces = row_ != nullptr ? row_->clean_spaces : wordpiece;
  }

  void mark_control(int32_t id) {
    if (id >= 0) table_.add(id, k_token_control);
  }

  // The given id, or the first of the texts that the vocabulary holds; that one is control.
  int32_t found(int32_t id, std::span<const std::string_view> texts) {
    if (id >= 0) return id;
    for (const std::string_view text : texts)
      if (const int32_t other = table_.find(text); other >= 0) {
        mark_control(other);
        return other;
      }
    return -1;
  }

  void add_end(int32_t id) {
    if (id >= 0 && std::find(out_.ends.begin(), out_.ends.end(), id) == out_.ends.end())
      out_.ends.push_back(id);
  }
  void add_ends(std::span<const std::string_view> texts) {
    for (const std::string_view text : texts) {
      const int32_t id = table_.find(text);
      mark_control(id);
      add_end(id);
    }
  }
  bool ends_with(std::string_view text) const {
    const int32_t id = table_.find(text);
    return std::find(out_.ends.begin(), out_.ends.end(), id) != out_.ends.end();
  }
  void drop_end(std::string_view text, int attributes) {
    const int32_t id = table_.find(text);
    std::erase(out_.ends, id);
    table_.set(id, attributes);
  }

  void add_ends() {
    add_end(found(pick(vocabulary_.fim_pad, -1), k_pads));
    add_end(found(pick(vocabulary_.fim_repo, -1), k_repositories));
    add_end(found(pick(vocabulary_.fim_separator, -1), k_separators));
    add_ends(k_turn_ends);
    add_ends(k_further_ends);
    add_end(out_.eos);
    add_end(out_.eot);
    add_end(out_.eom);
  }

  void show_channels() {
    for (const std::string_view text : k_shown)
      if (const int32_t id = table_.find(text); id >= 0) table_.set(id, k_token_user_defined);
  }

  // Vocabularies in which a familiar end is an ordinary mark.
  void drop_false_ends() {
    const bool harmony =
        ends_with("<|return|>") && (ends_with("<|call|>") || ends_with("<|calls|>"));
    const bool solar = ends_with("<|flush|>") && (ends_with("<|call|>") || ends_with("<|calls|>"));
    if ((harmony || solar) && ends_with("<|end|>")) drop_end("<|end|>", k_token_user_defined);
    if (ends_with("<|tool_response>") && ends_with("</s>")) drop_end("</s>", k_token_normal);
  }

  void set_strips() {
    std::string name = vocabulary_.model_name;
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const auto has = [](std::string_view text, std::string_view part) {
      return text.find(part) != std::string_view::npos;
    };
    const std::string& pre = vocabulary_.pre;
    const std::string& architecture = vocabulary_.architecture;
    if (has(pre, "jina-v2-de") || has(pre, "jina-v2-es") || has(pre, "jina-v2-code") ||
        has(architecture, "nomic-bert-moe") || has(architecture, "jina-bert-v3")) {
      strip("<mask>", k_token_left_strip);
    } else if (has(name, "phi-3") || has(name, "phi3")) {
      constexpr int k_special = k_token_control | k_token_user_defined | k_token_unknown;
      for (int32_t id = 0; id < table_.size(); ++id)
        if (table_.has(id, k_special)) table_.add(id, k_token_right_strip);
      strip("</s>", k_token_right_strip);
      for (const std::string_view text : {"<unk>", "<s>", "<|endoftext|>"})
        if (const int32_t id = table_.find(text); id >= 0) table_.remove(id, k_token_right_strip);
    } else if (has(name, "modern-bert")) {
      strip("[MASK]", k_token_left_strip);
    }
  }
  void strip(std::string_view text, int attribute) {
    if (const int32_t id = table_.find(text); id >= 0) table_.add(id, attribute);
  }

  const Vocabulary& vocabulary_;
  const PreTokenizerRow* row_;
  TokenTable& table_;
  SpecialTokens out_;
};

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::string_view strip_right(std::string_view text) {
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}
std::string_view strip_left(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  return text;
}

}  // namespace

Result<SpecialTokens> find_special_tokens(const Vocabulary& vocabulary, const PreTokenizerRow* row,
                                          TokenTable& table) {
  SpecialTokens out = Finder(vocabulary, row, table).find();
  if (vocabulary.algorithm == TokenAlgorithm::wordpiece &&
      (out.bos < 0 || out.sep < 0 || out.unk < 0))
    return error(ErrorCode::bad_file,
                 "Expected a wordpiece vocabulary to name its CLS, SEP and UNK tokens, but the "
                 "ids are %d, %d and %d of %d tokens",
                 out.bos, out.sep, out.unk, table.size());
  return out;
}

SpecialMatcher::SpecialMatcher(const TokenTable& table) {
  constexpr int k_special = k_token_control | k_token_user_defined | k_token_unknown;
  for (int32_t id = 0; id < table.size(); ++id)
    if (table.has(id, k_special) && !table.text(id).empty())
      sorted_.push_back({table.text(id), id, 0, !table.has(id, k_token_control | k_token_unknown)});
  std::sort(sorted_.begin(), sorted_.end(),
            [](const Entry& a, const Entry& b) { return a.text < b.text; });
  by_order_.resize(sorted_.size());
  std::iota(by_order_.begin(), by_order_.end(), 0);
  const auto entry = [&](int index) -> Entry& { return sorted_[static_cast<size_t>(index)]; };
  std::sort(by_order_.begin(), by_order_.end(), [&](int a, int b) {
    const size_t la = entry(a).text.size(), lb = entry(b).text.size();
    return la != lb ? la > lb : entry(a).token < entry(b).token;
  });
  for (size_t i = 0; i < by_order_.size(); ++i) entry(by_order_[i]).order = static_cast<int>(i);
  first_.assign(257, 0);
  for (const Entry& e : sorted_) ++first_[static_cast<uint8_t>(e.text[0]) + 1u];
  std::partial_sum(first_.begin(), first_.end(), first_.begin());
}

// Marks, by order, the tokens whose text occurs anywhere.
void SpecialMatcher::find_present(std::string_view text, bool control,
                                  std::vector<bool>& present) const {
  for (size_t at = 0; at < text.size(); ++at) {
    const auto byte = static_cast<uint8_t>(text[at]);
    size_t low = first_[byte], high = first_[byte + 1u];
    // Narrow the sorted range byte by byte; the shortest text of a range comes first.
    for (size_t depth = 1; low < high; ++depth) {
      while (low < high && sorted_[low].text.size() == depth) {
        const Entry& entry = sorted_[low++];
        if (control || entry.user_defined) present[static_cast<size_t>(entry.order)] = true;
      }
      if (low == high || at + depth >= text.size()) break;
      const auto next = static_cast<uint8_t>(text[at + depth]);
      const auto begin = sorted_.begin();
      const auto byte_at = [&](const Entry& e) { return static_cast<uint8_t>(e.text[depth]); };
      const auto first = std::lower_bound(
          begin + static_cast<ptrdiff_t>(low), begin + static_cast<ptrdiff_t>(high), next,
          [&](const Entry& e, uint8_t b) { return byte_at(e) < b; });
      const auto last = std::upper_bound(first, begin + static_cast<ptrdiff_t>(high), next,
                                         [&](uint8_t b, const Entry& e) { return b < byte_at(e); });
      low = static_cast<size_t>(first - begin);
      high = static_cast<size_t>(last - begin);
    }
  }
}

std::vector<Fragment> SpecialMatcher::split(const TokenTable& table, std::string_view text,
                                            bool control) const {
  std::vector<Fragment> fragments;
  if (text.empty()) return fragments;
  fragments.push_back({text, -1});
  if (sorted_.empty()) return fragments;
  std::vector<bool> present(sorted_.size());
  find_present(text, control, present);
  std::vector<Fragment> cut;
  for (size_t order = 0; order < present.size(); ++order) {
    if (!present[order]) continue;
    const Entry& entry = sorted_[static_cast<size_t>(by_order_[order])];
    cut.clear();
    for (const Fragment& fragment : fragments) {
      std::string_view rest = fragment.text;
      if (fragment.token >= 0) {
        cut.push_back(fragment);
        continue;
      }
      size_t found;
      while (!rest.empty() && (found = rest.find(entry.text)) != std::string_view::npos) {
        std::string_view left = rest.substr(0, found);
        if (table.has(entry.token, k_token_left_strip)) left = strip_right(left);
        if (!left.empty()) cut.push_back({left, -1});
        cut.push_back({{}, entry.token});
        rest.remove_prefix(found + entry.text.size());
        if (table.has(entry.token, k_token_right_strip)) rest = strip_left(rest);
      }
      if (!rest.empty()) cut.push_back({rest, -1});
    }
    fragments.swap(cut);
  }
  return fragments;
}

}  // namespace millrace
