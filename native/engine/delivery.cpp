#include "engine/delivery.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <unordered_map>
#include <utility>

namespace millrace {

namespace {

bool contains(const std::vector<int32_t>& tokens, int32_t token) {
  return std::find(tokens.begin(), tokens.end(), token) != tokens.end();
}

bool ends_answer(const Request& request, const Limits& limits, int32_t token) {
  if (!request.ignore_eos && contains(limits.end_tokens, token)) return true;
  return contains(request.stop_tokens, token);
}

// Delivers text together with the tokens held for it. Where nobody reads, both are held on.
void deliver_piece(Sequence& sequence, const TextPiece& text, EventBatch& events) {
  sequence.text += text.text;
  sequence.text_units += text.utf16_units;
  sequence.held.text += text.text;
  sequence.held.text_units += text.utf16_units;
  if (!sequence.request.wants_pieces) return;
  Event piece = std::exchange(sequence.held, Event());
  piece.kind = Event::Kind::piece;
  piece.request = sequence.id;
  piece.is_first = !std::exchange(sequence.has_piece, true);
  events.push_back(std::move(piece));
}

template <class T>
void append(std::vector<T>& to, std::vector<T>&& more) {
  to.insert(to.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

Timings timings_of(const Sequence& sequence, double now_ms) {
  Timings timings;
  const double start = sequence.submitted_ms;
  timings.queue_ms = (sequence.scheduled_ms < 0 ? now_ms : sequence.scheduled_ms) - start;
  if (sequence.first_token_ms < 0) return timings;
  timings.first_token_ms = sequence.first_token_ms - start;
  timings.decode_ms = sequence.last_token_ms - sequence.first_token_ms;
  return timings;
}

}  // namespace

FinishReason accept(Sequence& sequence, Draw&& draw, const Limits& limits, double now_ms,
                    EventBatch& events) {
  const Request& request = sequence.request;
  if (sequence.first_token_ms < 0) sequence.first_token_ms = now_ms;
  sequence.last_token_ms = now_ms;
  if (ends_answer(request, limits, draw.token)) return FinishReason::stop;
  sequence.tokens.push_back(draw.token);
  if (needs_counts(request.sampling)) sequence.counts.add_output(draw.token);
  sequence.held.tokens.push_back(draw.token);
  if (request.sampling.logprobs >= 0) {
    sequence.held.logprobs.push_back(draw.chosen);
    sequence.held.top.push_back(std::move(draw.top));
  }
  const TextPiece text = sequence.stream ? sequence.stream->push(draw.token) : TextPiece();
  if (!text.text.empty() || !sequence.stream) deliver_piece(sequence, text, events);
  if (text.stopped) return FinishReason::stop;
  return sequence.n_output() >= sequence.max_output ? FinishReason::length : FinishReason::none;
}

void accept_score(Sequence& sequence, int position, Draw&& draw) {
  const size_t row = static_cast<size_t>(position);
  if (row + 1 < sequence.tokens.size()) sequence.score_logprobs[row + 1] = draw.chosen.logprob;
  if (sequence.request.score_top > 0) sequence.score_top[row] = std::move(draw.top);
}

void deliver_end(Sequence& sequence, FinishReason reason, double now_ms, EventBatch& events) {
  const TextPiece rest = sequence.stream ? sequence.stream->finish() : TextPiece();
  if (!rest.text.empty() || !sequence.held.tokens.empty()) {
    deliver_piece(sequence, rest, events);
  }
  Event end;
  end.request = sequence.id;
  end.reason = reason;
  end.usage = {sequence.n_prompt, sequence.cached_tokens, sequence.n_output()};
  end.timings = timings_of(sequence, now_ms);
  end.kind = Event::Kind::done;
  if (!sequence.is_score()) {
    end.tokens.assign(sequence.tokens.begin() + sequence.n_prompt, sequence.tokens.end());
    end.text = std::move(sequence.text);
    end.text_units = sequence.text_units;
  } else if (reason != FinishReason::abort) {
    end.kind = Event::Kind::score;
    end.tokens = sequence.tokens;
    end.score_logprobs = std::move(sequence.score_logprobs);
    end.top = std::move(sequence.score_top);
  }
  events.push_back(std::move(end));
}

void deliver_error(int64_t id, Status status, EventBatch& events) {
  Event event;
  event.kind = Event::Kind::error;
  event.request = id;
  event.error = std::move(status);
  events.push_back(std::move(event));
}

void join_pieces(EventBatch& events) {
  std::unordered_map<int64_t, size_t> places;
  size_t n = 0;
  for (Event& event : events) {
    if (event.kind == Event::Kind::piece) {
      const auto [place, is_new] = places.try_emplace(event.request, n);
      if (!is_new) {
        Event& piece = events[place->second];
        append(piece.tokens, std::move(event.tokens));
        append(piece.logprobs, std::move(event.logprobs));
        append(piece.top, std::move(event.top));
        piece.text += event.text;
        piece.text_units += event.text_units;
        continue;
      }
    }
    if (&events[n] != &event) events[n] = std::move(event);
    ++n;
  }
  events.resize(n);
}

}  // namespace millrace
