#include "text/spaces.h"

namespace millrace {
namespace {

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  out.reserve(text.size() + text.size() / 2);
  size_t begin = 0;
  for (size_t at = text.find(from); at != std::string_view::npos; at = text.find(from, begin)) {
    out += text.substr(begin, at - begin);
    out += to;
    begin = at + from.size();
  }
  out += text.substr(begin);
  return out;
}

}  // namespace

std::string escape_spaces(std::string_view text) { return replaced(text, " ", k_space_mark); }
std::string unescape_spaces(std::string_view text) { return replaced(text, k_space_mark, " "); }

}  // namespace millrace
