#include "base/utf8.h"

#include <algorithm>

namespace millrace {
namespace {

uint32_t mapped(std::span<const CodepointRun> table, uint32_t codepoint) {
  const auto above =
      std::upper_bound(table.begin(), table.end(), codepoint,
                       [](uint32_t value, const CodepointRun& run) { return value < run.first; });
  if (above == table.begin()) return codepoint;
  const CodepointRun& run = *(above - 1);
  const uint32_t offset = codepoint - run.first;
  if (codepoint > run.last) return codepoint;
  if (run.stride == 0) return decomposition_images()[run.image + offset];
  if (offset % run.stride != 0) return codepoint;
  return run.image + offset / run.stride * static_cast<uint32_t>(run.step);
}

// The smallest code point that needs a sequence of this many bytes.
constexpr uint32_t k_smallest[] = {0, 0, 0x80, 0x800, 0x10000};

}  // namespace

Category category_of(uint32_t codepoint) {
  const auto table = category_table();
  const auto above = std::upper_bound(table.begin(), table.end(), (codepoint << 8) | 0xFF);
  return static_cast<Category>(*(above - 1) & 0xFF);
}

bool is_whitespace(uint32_t codepoint) {
  const auto table = whitespace_table();
  return std::binary_search(table.begin(), table.end(), codepoint);
}

uint32_t to_lower(uint32_t codepoint) {
  if (codepoint < 0x80) return codepoint >= 'A' && codepoint <= 'Z' ? codepoint + 32 : codepoint;
  return mapped(lower_table(), codepoint);
}

uint32_t decompose(uint32_t codepoint) {
  if (codepoint < 0xC0) return codepoint;
  constexpr uint32_t k_first_syllable = 0xAC00, k_last_syllable = 0xD7A3, k_per_initial = 588;
  if (codepoint >= k_first_syllable && codepoint <= k_last_syllable)
    return 0x1100 + (codepoint - k_first_syllable) / k_per_initial;
  return mapped(decomposition_table(), codepoint);
}

Decoded decode_lenient(std::string_view text, size_t offset) {
  constexpr Decoded k_invalid{k_replacement, 1, false};
  const auto lead = static_cast<uint8_t>(text[offset]);
  if (lead < 0x80) return {lead, 1, true};
  if (lead < 0xC0 || lead >= 0xF8) return k_invalid;
  const uint32_t length = announced_length(text[offset]);
  if (offset + length > text.size()) return k_invalid;
  uint32_t codepoint = lead & (0x7Fu >> length);
  for (uint32_t i = 1; i < length; ++i) {
    if (!is_continuation(text[offset + i])) return k_invalid;
    codepoint = (codepoint << 6) | (static_cast<uint8_t>(text[offset + i]) & 0x3F);
  }
  if (codepoint >= k_codepoint_limit) return k_invalid;
  return {codepoint, length, true};
}

void append_utf8(std::string& text, uint32_t codepoint) {
  const auto put = [&](uint32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (codepoint < 0x80) {
    put(codepoint);
  } else if (codepoint < 0x800) {
    put(0xC0 | (codepoint >> 6));
    put(0x80 | (codepoint & 0x3F));
  } else if (codepoint < 0x10000) {
    put(0xE0 | (codepoint >> 12));
    put(0x80 | ((codepoint >> 6) & 0x3F));
    put(0x80 | (codepoint & 0x3F));
  } else {
    put(0xF0 | (codepoint >> 18));
    put(0x80 | ((codepoint >> 12) & 0x3F));
    put(0x80 | ((codepoint >> 6) & 0x3F));
    put(0x80 | (codepoint & 0x3F));
  }
}

bool is_valid_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    if (static_cast<uint8_t>(text[i]) < 0x80) {
      ++i;
      continue;
    }
    const Decoded decoded = decode_lenient(text, i);
    const bool surrogate = decoded.codepoint >= 0xD800 && decoded.codepoint < 0xE000;
    if (!decoded.valid || surrogate || decoded.codepoint < k_smallest[decoded.length]) return false;
    i += decoded.length;
  }
  return true;
}

size_t utf16_length(std::string_view text) {
  size_t units = 0;
  for (const char byte : text) {
    units += !is_continuation(byte);
    units += static_cast<uint8_t>(byte) >= 0xF0;
  }
  return units;
}

}  // namespace millrace
