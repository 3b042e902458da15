#include "text/regex.h"

#include "base/utf8.h"

namespace millrace {

namespace {

// Recursive descent; a group compiles twice where it is repeated, so no node tree is kept.
class Parser {
 public:
  explicit Parser(std::string_view pattern) : pattern_(pattern) {}

  Result<RegexProgram> parse() {
    TRY(alternation());
    if (at_ < pattern_.size()) return bad("an unexpected ')'");
    emit({RegexStep::Kind::match});
    return std::move(program_);
  }

 private:
  Status bad(const char* what) const {
    return error(ErrorCode::internal, "pattern \"%.*s\": %s at byte %zu",
                 static_cast<int>(pattern_.size()), pattern_.data(), what, at_);
  }
  bool more() const { return at_ < pattern_.size(); }
  bool looking_at(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }
  bool skip(std::string_view text) {
    if (!looking_at(text)) return false;
    at_ += text.size();
    return true;
  }
  int emit(RegexStep step) {
    program_.steps.push_back(step);
    return static_cast<int>(program_.steps.size()) - 1;
  }
  int here() const { return static_cast<int>(program_.steps.size()); }
  int keep(CodepointSet set) {
    program_.sets.push_back(std::move(set));
    return static_cast<int>(program_.sets.size()) - 1;
  }
  RegexStep& step(int index) { return program_.steps[static_cast<size_t>(index)]; }

  // a|b|c: split to a or (split to b or c); each branch then jumps behind the last.
  Status alternation() {
    std::vector<int> jumps;
    while (true) {
      const size_t start = at_;
      const bool last = !has_bar(start);
      const int fork = last ? -1 : emit({RegexStep::Kind::split});
      if (fork >= 0) step(fork).first = here();
      TRY(sequence());
      if (last) break;
      jumps.push_back(emit({RegexStep::Kind::jump}));
      step(fork).second = here();
      if (!skip("|")) return bad("'|' expected");
    }
    for (const int jump : jumps) step(jump).first = here();
    return {};
  }

  // Whether the alternative that starts here is followed by another one of the same group.
  bool has_bar(size_t from) const {
    int depth = 0;
    bool in_class = false;
    for (size_t i = from; i < pattern_.size(); ++i) {
      const char c = pattern_[i];
      if (c == '\\')
        ++i;
      else if (in_class)
        in_class = c != ']';
      else if (c == '[')
        in_class = true;
      else if (c == '(')
        ++depth;
      else if (c == ')' && depth-- == 0)
        return false;
      else if (c == '|' && depth == 0)
        return true;
    }
    return false;
  }

  Status sequence() {
    while (more() && pattern_[at_] != '|' && pattern_[at_] != ')') TRY(repeated());
    return {};
  }

  struct Count {
    int least = 1, most = 1;  // most < 0: no limit
  };

  Status repeated() {
    const size_t start = at_;
    const int first_step = here();
    const size_t first_set = program_.sets.size();
    TRY(atom());
    const size_t end = at_;
    Count count;
    TRY(quantifier(count));
    if (count.least == 1 && count.most == 1) return {};
    const size_t after = at_;
    program_.steps.resize(static_cast<size_t>(first_step));
    program_.sets.resize(first_set);
    for (int i = 0; i < count.least; ++i) TRY(again(start, end));
    if (count.most < 0) {
      const int fork = emit({RegexStep::Kind::split});
      step(fork).first = here();
      TRY(again(start, end));
      RegexStep back{RegexStep::Kind::jump};
      back.first = fork;
      emit(back);
      step(fork).second = here();
    }
    std::vector<int> forks;
    for (int i = count.least; i < count.most; ++i) {
      forks.push_back(emit({RegexStep::Kind::split}));
      step(forks.back()).first = here();
      TRY(again(start, end));
    }
    for (const int fork : forks) step(fork).second = here();
    at_ = after;
    return {};
  }

  Status again(size_t start, size_t end) {
    at_ = start;
    TRY(atom());
    return at_ == end ? Status() : bad("an atom that reads differently twice");
  }

  Status quantifier(Count& count) {
    if (skip("?"))
      count = {0, 1};
    else if (skip("*"))
      count = {0, -1};
    else if (skip("+"))
      count = {1, -1};
    else if (skip("{")) {
      TRY(number(count.least));
      count.most = count.least;
      if (skip(",")) TRY(number(count.most));
      if (!skip("}") || count.most < count.least) return bad("a counted repetition expected");
    }
    return {};
  }

  Status number(int& value) {
    const size_t start = at_;
    value = 0;
    while (more() && pattern_[at_] >= '0' && pattern_[at_] <= '9' && value < 10000)
      value = value * 10 + (pattern_[at_++] - '0');
    return at_ > start ? Status() : bad("a number expected");
  }

  Status atom() {
    if (skip("(?i:")) {
      const bool before = ignore_case_;
      ignore_case_ = true;
      TRY(group());
      ignore_case_ = before;
      return {};
    }
    if (looking_at("(?=") || looking_at("(?!")) return look();
    if (skip("(?:") || skip("(")) return group();
    if (skip("$")) {
      CodepointSet end;
      end.end = true;
      RegexStep step{RegexStep::Kind::look};
      step.set = keep(std::move(end));
      emit(step);
      return {};
    }
    CodepointSet set;
    TRY(single(set));
    RegexStep step{RegexStep::Kind::set};
    step.set = keep(std::move(set));
    emit(step);
    return {};
  }

  Status group() {
    TRY(alternation());
    return skip(")") ? Status() : bad("')' expected");
  }

  Status look() {
    const bool negated = pattern_[at_ + 2] == '!';
    at_ += 3;
    CodepointSet set;
    TRY(single(set));
    if (!skip(")")) return bad("a lookahead of one character expected");
    RegexStep step{RegexStep::Kind::look};
    step.set = keep(negated ? set.inverted() : std::move(set));
    emit(step);
    return {};
  }

  // One character: a class, an escape or a literal.
  Status single(CodepointSet& set) {
    if (looking_at("[")) return bracket(set);
    if (looking_at("\\")) {
      TRY(escape(set));
    } else {
      const Decoded literal = decode_lenient(pattern_, at_);
      at_ += literal.length;
      set.add(literal.codepoint, literal.codepoint);
    }
    fold(set);
    set.normalize();
    return {};
  }

  void fold(CodepointSet& set) const {
    if (!ignore_case_) return;
    const auto ranges = set.ranges;
    for (const auto& [first, last] : ranges)
      if (first == last && first < 0x80) {
        const uint32_t lower = to_lower(first);
        set.add(lower, lower);
        if (lower >= 'a' && lower <= 'z') set.add(lower - 32, lower - 32);
      }
  }

  Status bracket(CodepointSet& set) {
    ++at_;
    const bool negated = skip("^");
    while (more() && pattern_[at_] != ']') {
      CodepointSet part;
      TRY(member(part));
      const bool is_range = looking_at("-") && at_ + 1 < pattern_.size() &&
                            pattern_[at_ + 1] != ']' && part.ranges.size() == 1 &&
                            part.ranges[0].first == part.ranges[0].second;
      if (is_range) {
        ++at_;
        CodepointSet last;
        TRY(member(last));
        if (last.ranges.size() != 1 || last.ranges[0].second < part.ranges[0].first)
          return bad("a range of characters expected");
        part.ranges[0].second = last.ranges[0].second;
      }
      set.add_all(part);
    }
    if (!skip("]")) return bad("']' expected");
    fold(set);
    set.normalize();
    if (negated) {
      set = set.inverted();
      set.end = false;
    }
    return {};
  }

  Status member(CodepointSet& set) {
    if (looking_at("\\")) return escape(set);
    const Decoded literal = decode_lenient(pattern_, at_);
    at_ += literal.length;
    set.add(literal.codepoint, literal.codepoint);
    return {};
  }

  Status escape(CodepointSet& set) {
    static constexpr std::pair<std::string_view, Category> k_categories[] = {
        {"\\p{L}", Category::letter}, {"\\p{M}", Category::mark},
        {"\\p{N}", Category::number}, {"\\p{P}", Category::punctuation},
        {"\\p{S}", Category::symbol},
    };
    for (const auto& [name, category] : k_categories)
      if (skip(name)) {
        set.add_all(category_set(category));
        return {};
      }
    if (skip("\\x{")) return hexadecimal(set);
    if (at_ + 1 >= pattern_.size()) return bad("an escape expected");
    const char letter = pattern_[at_ + 1];
    at_ += 2;
    const auto add = [&](char c) { set.add(static_cast<uint8_t>(c), static_cast<uint8_t>(c)); };
    switch (letter) {
      case 's':
        set.add_all(whitespace_set());
        return {};
      case 'S':
        set.add_all(whitespace_set().inverted());
        return {};
      case 'd':
        set.add('0', '9');
        return {};
      case 'r':
        add('\r');
        return {};
      case 'n':
        add('\n');
        return {};
      case 't':
        add('\t');
        return {};
      default:
        break;
    }
    if ((letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z'))
      return bad("an escape that is not known");
    add(letter);
    return {};
  }

  Status hexadecimal(CodepointSet& set) {
    uint32_t codepoint = 0;
    while (more() && pattern_[at_] != '}' && codepoint < k_codepoint_limit) {
      const char c = pattern_[at_++];
      const bool digit = c >= '0' && c <= '9';
      if (!digit && (c < 'A' || c > 'F')) return bad("a hexadecimal number expected");
      codepoint = codepoint * 16 + static_cast<uint32_t>(digit ? c - '0' : c - 'A' + 10);
    }
    if (!skip("}") || codepoint >= k_codepoint_limit) return bad("a code point expected");
    set.add(codepoint, codepoint);
    return {};
  }

  std::string_view pattern_;
  size_t at_ = 0;
  bool ignore_case_ = false;
  RegexProgram program_;
};

}  // namespace

Result<RegexProgram> parse_regex(std::string_view pattern) { return Parser(pattern).parse(); }

}  // namespace millrace
