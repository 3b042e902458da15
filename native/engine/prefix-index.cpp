#include "engine/prefix-index.h"

#include <algorithm>
#include <utility>

namespace millrace {

namespace {

// The finaliser of splitmix64: Steele, Lea and Flood, "Fast splittable pseudorandom number
// generators", 2014. Collisions cost a missed share, never a wrong one, so no keyed hash is needed.
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace

PageHash scope_hash(std::string_view scope) {
  uint64_t hash = mix(scope.size());
  for (const char c : scope) hash = mix(hash ^ static_cast<unsigned char>(c));
  return hash;
}

PageHash chain_hash(PageHash before, const int32_t* tokens, int n_tokens) {
  uint64_t hash = before;
  for (int i = 0; i < n_tokens; ++i) hash = mix(hash ^ static_cast<uint32_t>(tokens[i]));
  return hash;
}

PrefixIndex::PrefixIndex(int page_tokens) : page_tokens_(page_tokens) {}

const int32_t* PrefixIndex::tokens(int node) const {
  return tokens_.data() + static_cast<size_t>(node) * static_cast<size_t>(page_tokens_);
}

int PrefixIndex::find(const PageKey& key) const {
  const auto found = by_hash_.find(key.hash);
  if (found == by_hash_.end()) return k_no_node;
  const Node& node = at(found->second);
  if (node.parent != key.parent) return k_no_node;
  if (key.parent == k_no_node && node.scope != key.scope) return k_no_node;
  if (!std::equal(key.tokens, key.tokens + page_tokens_, tokens(found->second))) return k_no_node;
  return found->second;
}

Likeness PrefixIndex::most_alike(const PageKey& key, int n) {
  const bool is_top = key.parent == k_no_node;
  Likeness best;
  int found = k_no_node, node = first_child(key.parent);
  for (int looks = 0; node != k_no_node && looks < k_most_looks; ++looks, node = at(node).older) {
    if (is_top && at(node).scope != key.scope) continue;
    const int32_t* end = std::mismatch(key.tokens, key.tokens + n, tokens(node)).first;
    const int n_equal = static_cast<int>(end - key.tokens);
    if (n_equal <= best.n_tokens) continue;
    best = {at(node).page, n_equal};
    found = node;
  }
  if (found == k_no_node) return best;
  lock(found);
  unlock(found);
  return best;
}

int PrefixIndex::insert(const PageKey& key, PageId page) {
  if (by_hash_.count(key.hash) != 0) return k_no_node;
  int slot = static_cast<int>(nodes_.size());
  if (unused_.empty()) {
    nodes_.emplace_back();
    tokens_.resize(tokens_.size() + static_cast<size_t>(page_tokens_));
  } else {
    slot = unused_.back();
    unused_.pop_back();
  }
  Node& node = at(slot);
  node.parent = key.parent;
  node.hash = key.hash;
  node.page = page;
  node.newer = k_no_node;  // an evicted node left neither locks nor children
  node.last_used = ++clock_;
  if (key.parent == k_no_node) node.scope = key.scope;
  std::copy(key.tokens, key.tokens + page_tokens_,
            tokens_.data() + static_cast<size_t>(slot) * static_cast<size_t>(page_tokens_));
  by_hash_.emplace(key.hash, slot);
  int& first = first_child(key.parent);
  node.older = std::exchange(first, slot);
  if (node.older != k_no_node) at(node.older).newer = slot;
  if (key.parent != k_no_node) rest(key.parent);
  ++size_;
  ++unlocked_;
  rest(slot);
  return slot;
}

void PrefixIndex::rest(int slot) {
  const Node& node = at(slot);
  const std::pair<uint64_t, int> place(node.last_used, slot);
  if (node.locks == 0 && node.first_child == k_no_node) {
    idle_.insert(place);
  } else {
    idle_.erase(place);
  }
}

void PrefixIndex::lock(int slot) {
  Node& node = at(slot);
  if (node.locks++ > 0) return;
  --unlocked_;
  rest(slot);
}

void PrefixIndex::unlock(int slot) {
  Node& node = at(slot);
  if (--node.locks > 0) return;
  ++unlocked_;
  node.last_used = ++clock_;
  rest(slot);
}

PageId PrefixIndex::evict() {
  if (idle_.empty()) return -1;
  const int slot = idle_.begin()->second;
  idle_.erase(idle_.begin());
  Node& node = at(slot);
  by_hash_.erase(node.hash);
  node.scope.clear();
  unused_.push_back(slot);
  --size_;
  --unlocked_;
  if (node.older != k_no_node) at(node.older).newer = node.newer;
  (node.newer != k_no_node ? at(node.newer).older : first_child(node.parent)) = node.older;
  if (node.parent != k_no_node) rest(node.parent);
  return std::exchange(node.page, -1);
}

std::vector<int> PrefixIndex::nodes() const {
  std::vector<int> all;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i].page >= 0) all.push_back(static_cast<int>(i));
  }
  return all;
}

}  // namespace millrace
