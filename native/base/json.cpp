#include "base/json.h"

#include <locale>
#include <sstream>

#include "base/utf8.h"

namespace millrace {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<Json> run() {
    if (!is_valid_utf8(text_)) return error(ErrorCode::bad_file, "the JSON text is not UTF-8");
    Json value;
    TRY(read_value(0, value));
    skip_space();
    if (at_ < text_.size()) return unexpected("the end");
    return value;
  }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  bool accept(char c) {
    if (peek() != c || at_ >= text_.size()) return false;
    ++at_;
    return true;
  }

  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != text_.npos) ++at_;
  }

  Status unexpected(const char* expected) const {
    const std::string_view before = text_.substr(0, at_);
    size_t line = 1;
    for (const char c : before) line += c == '\n';
    const size_t newline = before.rfind('\n');
    const size_t column = newline == before.npos ? at_ + 1 : at_ - newline;
    return error(ErrorCode::bad_file, "Expected %s at line %zu, column %zu of the JSON text",
                 expected, line, column);
  }

  Status read_value(int depth, Json& out) {
    if (depth > k_json_depth) return unexpected("at most 64 levels of nesting");
    skip_space();
    switch (peek()) {
      case '{':
        return read_object(depth, out);
      case '[':
        return read_array(depth, out);
      case 't':
        out.set(true);
        return read_word("true");
      case 'f':
        out.set(false);
        return read_word("false");
      case 'n':
        return read_word("null");
      case '"': {
        auto text = read_string();
        TRY(text);
        out.set(std::move(*text));
        return {};
      }
      default:
        return read_number(out);
    }
  }

  Status read_word(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return unexpected("a value");
    at_ += word.size();
    return {};
  }

  Status read_object(int depth, Json& out) {
    Json::Object members;
    ++at_;
    skip_space();
    bool more = peek() != '}';
    while (more) {
      skip_space();
      if (peek() != '"') return unexpected("a key in quotes");
      const size_t start = at_;
      auto key = read_string();
      TRY(key);
      skip_space();
      if (!accept(':')) return unexpected("a colon");
      const auto [member, is_first] = members.try_emplace(std::move(*key));
      if (!is_first) {
        at_ = start;
        return unexpected("a key that did not occur before");
      }
      TRY(read_value(depth + 1, member->second));
      skip_space();
      more = accept(',');
    }
    if (!accept('}')) return unexpected("a comma or a closing brace");
    out.set(std::move(members));
    return {};
  }

  Status read_array(int depth, Json& out) {
    Json::Array items;
    ++at_;
    skip_space();
    bool more = peek() != ']';
    while (more) {
      TRY(read_value(depth + 1, items.emplace_back()));
      skip_space();
      more = accept(',');
    }
    if (!accept(']')) return unexpected("a comma or a closing bracket");
    out.set(std::move(items));
    return {};
  }

  Result<std::string> read_string() {
    std::string out;
    ++at_;
    for (;;) {
      if (at_ >= text_.size()) return unexpected("a closing quote");
      const char c = text_[at_];
      if (static_cast<unsigned char>(c) < 0x20) return unexpected("no control character in text");
      ++at_;
      if (c == '"') return out;
      if (c != '\\') {
        out += c;
        continue;
      }
      TRY(read_escape(out));
    }
  }

  Status read_escape(std::string& out) {
    constexpr std::string_view k_short = "\"\\/bfnrt";
    constexpr std::string_view k_meaning = "\"\\/\b\f\n\r\t";
    if (accept('u')) return read_codepoint(out);
    const size_t index = at_ < text_.size() ? k_short.find(text_[at_]) : k_short.npos;
    if (index == k_short.npos) return unexpected("an escape of JSON");
    ++at_;
    out += k_meaning[index];
    return {};
  }

  // After "\u"; a surrogate must come with its other half.
  Status read_codepoint(std::string& out) {
    uint32_t codepoint = 0;
    TRY(read_hex(codepoint));
    if (codepoint >= 0xdc00 && codepoint < 0xe000) return unexpected("a leading surrogate before");
    if (codepoint >= 0xd800 && codepoint < 0xdc00) {
      uint32_t low = 0;
      if (!accept('\\') || !accept('u')) return unexpected("a trailing surrogate");
      TRY(read_hex(low));
      if (low < 0xdc00 || low >= 0xe000) return unexpected("a trailing surrogate before");
      codepoint = 0x10000 + ((codepoint - 0xd800) << 10) + (low - 0xdc00);
    }
    append_utf8(out, codepoint);
    return {};
  }

  Status read_hex(uint32_t& out) {
    for (int i = 0; i < 4; ++i) {
      const size_t digit = std::string_view("0123456789abcdef0123456789ABCDEF").find(peek());
      if (digit == std::string_view::npos || at_ >= text_.size())
        return unexpected("four hexadecimal digits");
      out = out * 16 + static_cast<uint32_t>(digit % 16);
      ++at_;
    }
    return {};
  }

  bool skip_digits() {
    const size_t start = at_;
    while (is_digit(peek())) ++at_;
    return at_ > start;
  }

  Status read_number(Json& out) {
    const size_t start = at_;
    accept('-');
    const bool zero = peek() == '0';
    if (!skip_digits()) return unexpected("a value");
    if (zero && at_ - start > (text_[start] == '-' ? 2u : 1u)) {
      at_ = start;
      return unexpected("a number without leading zeros");
    }
    if (accept('.') && !skip_digits()) return unexpected("digits after the point");
    if (peek() == 'e' || peek() == 'E') {
      ++at_;
      if (!accept('+')) accept('-');
      if (!skip_digits()) return unexpected("digits of an exponent");
    }
    return to_number(start, out);
  }

  Status to_number(size_t start, Json& out) {
    std::istringstream stream{std::string(text_.substr(start, at_ - start))};
    stream.imbue(std::locale::classic());
    double value = 0;
    stream >> value;
    if (stream.fail() && value != 0) {
      at_ = start;
      return unexpected("a number in the range of doubles");
    }
    out.set(value);
    return {};
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

void Json::set(bool value) {
  type_ = Type::boolean;
  boolean_ = value;
}
void Json::set(double value) {
  type_ = Type::number;
  number_ = value;
}
void Json::set(std::string value) {
  type_ = Type::string;
  string_ = std::move(value);
}
void Json::set(Array value) {
  type_ = Type::array;
  array_ = std::move(value);
}
void Json::set(Object value) {
  type_ = Type::object;
  object_ = std::move(value);
}

const Json* Json::find(std::string_view key) const {
  const Object* members = object();
  if (!members) return nullptr;
  const auto found = members->find(key);
  return found == members->end() ? nullptr : &found->second;
}

Result<Json> Json::parse(std::string_view text) { return Parser(text).run(); }

}  // namespace millrace
