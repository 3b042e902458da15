#include "text/text-stream.h"

#include "base/utf8.h"

namespace millrace {
namespace {

constexpr size_t k_max_stop_bytes = 4096;  // the automaton takes 1 KiB for each
constexpr std::string_view k_replacement_text = "\xEF\xBF\xBD";

}  // namespace

Result<std::shared_ptr<const StopStrings>> StopStrings::create(
    const std::vector<std::string>& stops) {
  size_t bytes = 0;
  for (const std::string& stop : stops) {
    if (stop.empty())
      return error(ErrorCode::invalid_argument,
                   "Expected every \"stop\" string to hold text but received an empty one");
    if (!is_valid_utf8(stop))
      return error(
          ErrorCode::invalid_argument,
          "Expected every \"stop\" string to be valid UTF-8 but received bytes that are not");
    bytes += stop.size();
  }
  if (bytes > k_max_stop_bytes)
    return error(ErrorCode::invalid_argument,
                 "Expected the \"stop\" strings to be at most %zu bytes together but received %zu",
                 k_max_stop_bytes, bytes);
  auto automaton = std::make_shared<StopStrings>();
  auto& next = automaton->next_;
  auto& depth = automaton->depth_;
  auto& matched = automaton->matched_;
  const auto add_state = [&](int at_depth) {
    next.resize(next.size() + 256, -1);
    depth.push_back(at_depth);
    matched.push_back(0);
    return static_cast<int>(depth.size()) - 1;
  };
  add_state(0);
  for (const std::string& stop : stops) {
    int state = 0;
    for (const char byte : stop) {
      const size_t at = static_cast<size_t>(state) * 256 + static_cast<uint8_t>(byte);
      if (next[at] < 0) {
        const int added = add_state(depth[static_cast<size_t>(state)] + 1);
        next[at] = added;
      }
      state = next[at];
    }
    matched[static_cast<size_t>(state)] = static_cast<int>(stop.size());
  }
  // Breadth first: a missing step is the step of the longest proper suffix that is a state.
  std::vector<int> suffix(depth.size(), 0), queue{0};
  for (size_t head = 0; head < queue.size(); ++head) {
    const auto state = static_cast<size_t>(queue[head]);
    const auto shorter = static_cast<size_t>(suffix[state]);
    if (matched[state] == 0) matched[state] = matched[shorter];
    for (size_t byte = 0; byte < 256; ++byte) {
      int32_t& step = next[state * 256 + byte];
      const int32_t other = state == 0 ? 0 : next[shorter * 256 + byte];
      if (step < 0) {
        step = other;
      } else {
        suffix[static_cast<size_t>(step)] = other;
        queue.push_back(step);
      }
    }
  }
  return std::shared_ptr<const StopStrings>(std::move(automaton));
}

TextStream::TextStream(const Tokenizer& tokenizer, std::shared_ptr<const StopStrings> stops,
                       TextStreamOptions options)
    : tokenizer_(&tokenizer), stops_(std::move(stops)), options_(options) {
  options_.at_text_start = options_.at_text_start && tokenizer.strips_leading_space();
}

TextPiece TextStream::push(int32_t token) {
  std::string_view bytes = tokenizer_->piece(token);
  if (!options_.special && tokenizer_->is_special(token)) bytes = {};
  if (options_.at_text_start && bytes.starts_with(' ')) bytes.remove_prefix(1);
  options_.at_text_start = false;
  for (const char byte : bytes) take(static_cast<uint8_t>(byte));
  return release(false);
}

TextPiece TextStream::finish() {
  if (n_partial_ > 0) break_character();
  return release(true);
}

// The decoder of the WHATWG Encoding Standard: a sequence ends at the first byte that cannot
// continue it, and gives one U+FFFD.
void TextStream::take(uint8_t byte) {
  if (n_partial_ > 0) {
    if (byte >= low_ && byte <= high_) {
      partial_[n_partial_++] = static_cast<char>(byte);
      low_ = 0x80;
      high_ = 0xBF;
      if (n_partial_ < n_expected_) return;
      append({partial_, static_cast<size_t>(n_partial_)});
      n_partial_ = 0;
      return;
    }
    break_character();
  }
  const char text = static_cast<char>(byte);
  if (byte < 0x80) return append({&text, 1});
  if (byte < 0xC2 || byte > 0xF4) return append(k_replacement_text);
  partial_[n_partial_++] = text;
  n_expected_ = static_cast<int>(announced_length(text));
  low_ = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
  high_ = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
}

void TextStream::break_character() {
  n_partial_ = 0;
  low_ = 0x80;
  high_ = 0xBF;
  append(k_replacement_text);
}

void TextStream::append(std::string_view character) {
  if (stopped_) return;
  held_ += character;
  if (stops_ == nullptr) return;
  for (const char byte : character) state_ = stops_->next(state_, static_cast<uint8_t>(byte));
  // A stop string is valid UTF-8, so it can only end where a character ends.
  const int length = stops_->matched(state_);
  if (length == 0) return;
  held_.resize(held_.size() - static_cast<size_t>(length));
  stopped_ = true;
}

TextPiece TextStream::release(bool all) {
  size_t kept = 0;
  if (!all && !stopped_ && stops_ != nullptr) kept = static_cast<size_t>(stops_->depth(state_));
  TextPiece piece;
  piece.stopped = stopped_;
  piece.text = held_.substr(0, held_.size() - kept);
  held_.erase(0, held_.size() - kept);
  piece.utf16_units = static_cast<int>(utf16_length(piece.text));
  return piece;
}

}  // namespace millrace
