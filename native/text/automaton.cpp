#include "text/automaton.h"

#include <algorithm>
#include <map>

#include "base/utf8.h"

namespace millrace {
namespace {

constexpr uint16_t k_accepts = 0x8000;
constexpr uint16_t k_dead = 0, k_start = 1;
constexpr size_t k_max_states = 0x4000;
constexpr size_t k_long_walk = 64;  // bytes beyond the match from which a walk is remembered

}  // namespace

CodepointClasses::CodepointClasses(const std::vector<CodepointSet>& sets) {
  std::vector<uint32_t> edges{0, k_codepoint_limit};
  for (const CodepointSet& set : sets)
    for (const auto& [first, last] : set.ranges) {
      edges.push_back(first);
      edges.push_back(last + 1);
    }
  std::sort(edges.begin(), edges.end());
  edges.erase(std::unique(edges.begin(), edges.end()), edges.end());

  std::map<std::vector<bool>, int> ids;
  std::vector<size_t> cursor(sets.size(), 0);
  for (size_t i = 0; i + 1 < edges.size(); ++i) {
    std::vector<bool> member(sets.size());
    for (size_t s = 0; s < sets.size(); ++s) {
      const auto& ranges = sets[s].ranges;
      while (cursor[s] < ranges.size() && ranges[cursor[s]].second < edges[i]) ++cursor[s];
      member[s] = cursor[s] < ranges.size() && ranges[cursor[s]].first <= edges[i];
    }
    const auto [entry, added] = ids.try_emplace(member, count_);
    if (added) {
      ++count_;
      members_.push_back(member);
    }
    append_run(entry->second, edges[i + 1] - edges[i]);
  }
}

// Adds a run of one class to the pages; a page of one class only is made once per class.
void CodepointClasses::append_run(int class_id, uint32_t length) {
  const auto id = static_cast<uint8_t>(class_id);
  while (length > 0) {
    if (partial_ == 0 && length >= k_page) {
      const auto [page, fresh] = uniform_.try_emplace(id, blocks_.size() / k_page);
      if (fresh) blocks_.insert(blocks_.end(), k_page, id);
      const uint32_t pages = length / k_page;
      pages_.insert(pages_.end(), pages, static_cast<uint16_t>(page->second));
      length -= pages * k_page;
      continue;
    }
    const uint32_t taken = std::min(length, k_page - partial_);
    if (partial_ == 0) pages_.push_back(static_cast<uint16_t>(blocks_.size() / k_page));
    blocks_.insert(blocks_.end(), taken, id);
    partial_ = (partial_ + taken) % k_page;
    length -= taken;
  }
}

// Subset construction that keeps the order of the alternatives (as RE2 does for leftmost-first).
// A state is the ordered list of steps at which a thread waits before it looks at the next
// character; conditions on that character are settled when the transition is computed.
struct Automaton::Builder {
  Automaton& automaton;
  std::map<std::vector<int>, uint16_t> ids;
  std::vector<std::vector<int>> states;
  std::vector<int> threads;
  std::vector<bool> visited;
  bool accepts = false;

  uint16_t id_of(const std::vector<int>& state) {
    const auto [entry, added] = ids.try_emplace(state, static_cast<uint16_t>(states.size()));
    if (added) states.push_back(state);
    return entry->second;
  }

  bool allows(int set, int class_id) const {
    if (class_id == automaton.classes_.count())
      return automaton.program_.sets[static_cast<size_t>(set)].end;
    return automaton.classes_.inside(class_id, static_cast<size_t>(set));
  }

  // Follows a waiting thread to the steps that consume; stops everything behind a match.
  void follow(int from, int class_id) {
    std::vector<int> stack{from};
    while (!stack.empty() && !accepts) {
      const int at = stack.back();
      stack.pop_back();
      if (visited[static_cast<size_t>(at)]) continue;
      visited[static_cast<size_t>(at)] = true;
      const RegexStep& step = automaton.program_.steps[static_cast<size_t>(at)];
      switch (step.kind) {
        case RegexStep::Kind::set:
          threads.push_back(at);
          break;
        case RegexStep::Kind::look:
          if (allows(step.set, class_id)) stack.push_back(at + 1);
          break;
        case RegexStep::Kind::split:
          stack.push_back(step.second);
          stack.push_back(step.first);
          break;
        case RegexStep::Kind::jump:
          stack.push_back(step.first);
          break;
        case RegexStep::Kind::match:
          accepts = true;
          break;
      }
    }
  }

  uint16_t transition(const std::vector<int>& state, int class_id) {
    threads.clear();
    visited.assign(automaton.program_.steps.size(), false);
    accepts = false;
    for (const int from : state) {
      follow(from, class_id);
      if (accepts) break;
    }
    std::vector<int> next;
    if (class_id < automaton.classes_.count())
      for (const int at : threads)
        if (allows(automaton.program_.steps[static_cast<size_t>(at)].set, class_id))
          next.push_back(at + 1);
    const uint16_t id = next.empty() ? k_dead : id_of(next);
    return static_cast<uint16_t>(id | (accepts ? k_accepts : 0));
  }
};

Automaton::Automaton(RegexProgram program)
    : program_(std::move(program)),
      classes_(program_.sets),
      stride_(static_cast<size_t>(classes_.count()) + 1) {}

Status Automaton::build() {
  if (classes_.count() > 255)
    return error(ErrorCode::internal, "a pattern with %d classes of characters", classes_.count());
  Builder builder{*this, {}, {}, {}, {}};
  builder.id_of({});
  builder.id_of({0});
  for (size_t i = 0; i < builder.states.size(); ++i) {
    if (i >= k_max_states) return error(ErrorCode::internal, "a pattern with too many states");
    const std::vector<int> state = builder.states[i];
    for (int class_id = 0; class_id <= classes_.count(); ++class_id) {
      table_.push_back(builder.transition(state, class_id));
      if (i == k_start && (table_.back() & k_accepts) != 0)
        return error(ErrorCode::internal, "a pattern that matches nothing at all");
    }
  }
  return {};
}

Result<Automaton> Automaton::compile(std::string_view pattern) {
  auto program = parse_regex(pattern);
  TRY(program);
  Automaton automaton(std::move(*program));
  TRY(automaton.build());
  return automaton;
}

size_t Automaton::match(std::string_view text, size_t begin, Scan& scan) const {
  const uint8_t* ascii = classes_.ascii();
  const uint16_t* table = table_.data();
  size_t at = begin, last = k_no_match;
  size_t run_begin = begin, long_begin = 0, long_end = 0;  // stays in one state
  uint32_t state = k_start, long_state = k_dead;
  while (true) {
    uint8_t class_id = static_cast<uint8_t>(stride_ - 1);
    uint32_t length = 0;
    if (at < text.size()) {
      const auto byte = static_cast<uint8_t>(text[at]);
      length = 1;
      if (byte < 0x80) {
        class_id = ascii[byte];
      } else {
        const Decoded decoded = decode_lenient(text, at);
        class_id = classes_.of(decoded.codepoint);
        length = decoded.length;
      }
    }
    const uint16_t step = table[state * stride_ + class_id];
    if ((step & k_accepts) != 0) last = at;
    const uint32_t next = step & 0x7FFFu;
    if (next != state) {
      if (at - run_begin > k_long_walk && at - run_begin > long_end - long_begin) {
        long_state = state;
        long_begin = run_begin;
        long_end = at;
      }
      run_begin = at + length;
      if (next == k_dead) break;
      state = next;
    }
    at += length;
    if (state == scan.state && at >= scan.from && at < scan.to) break;
  }
  // Nothing matched behind the long run's begin: the same state in the same run is hopeless.
  const size_t hopeless = last == k_no_match ? long_begin : std::max(long_begin, last + 1);
  if (long_state != k_dead && hopeless < long_end && last + 1 <= long_end)
    scan = {long_state, hopeless, long_end + 1};
  return last;
}

size_t Automaton::match_backwards(std::string_view text, size_t end) const {
  size_t at = end, last = k_no_match;
  uint32_t state = k_start;
  while (true) {
    uint8_t class_id = static_cast<uint8_t>(stride_ - 1);
    size_t previous = at;
    if (at > 0) {
      --previous;
      while (previous > 0 && is_continuation(text[previous])) --previous;
      class_id = classes_.of(decode_lenient(text, previous).codepoint);
    }
    const uint16_t step = table_[state * stride_ + class_id];
    if ((step & k_accepts) != 0) last = at;
    state = step & 0x7FFFu;
    if (state == k_dead) return last;
    at = previous;
  }
}

}  // namespace millrace
