#pragma once
// Pages found by what they hold: a tree whose edges are the tokens of one page. A node is
// looked up by the chained hash of everything before it and then compared: its parent, its tokens
// and (at the top) its scope, so that a hit is never a matter of luck. Invariant: a locked node's
// ancestors are locked; only unlocked leaves are evicted, the one unlocked longest ago first.
// Threads: engine thread only.

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/page-pool.h"

namespace millrace {

using PageHash = uint64_t;

// Hash of a page given the hash of all pages before it; the first page follows scope_hash(scope).
PageHash scope_hash(std::string_view scope);
PageHash chain_hash(PageHash before, const int32_t* tokens, int n_tokens);

// One page's identity. The scope (adapter and cache salt) matters at the top only, where parent is
// k_no_node: below it the parent implies it.
struct PageKey {
  int parent;
  PageHash hash;
  const int32_t* tokens;  // [page_tokens]
  std::string_view scope;
};

// A page that begins with so many of the tokens that were asked for; -1 and 0 where none does.
struct Likeness {
  PageId page = -1;
  int n_tokens = 0;
};

class PrefixIndex {
 public:
  static constexpr int k_no_node = -1;
  // Of the pages that follow one, so many are looked at for one that begins alike: the newest.
  static constexpr int k_most_looks = 64;

  explicit PrefixIndex(int page_tokens);

  int find(const PageKey& key) const;  // a node, or k_no_node
  // The page after key.parent that begins with most of the first n of key.tokens; counts as a use.
  // The key's hash is not read.
  Likeness most_alike(const PageKey& key, int n);
  // A new node, unlocked, for a key that find does not know; k_no_node if another page has its
  // hash.
  int insert(const PageKey& key, PageId page);

  void lock(int node);    // +1 sequence that uses the page
  void unlock(int node);  // -1
  bool is_locked(int node) const { return at(node).locks > 0; }
  int locks(int node) const { return at(node).locks; }
  PageId page(int node) const { return at(node).page; }

  // Forgets the least recently used unlocked leaf and names its page; -1 if all nodes are locked.
  PageId evict();

  int size() const { return size_; }
  int unlocked() const { return unlocked_; }
  std::vector<int> nodes() const;  // all of them, for checks

 private:
  struct Node {
    int parent = k_no_node;
    PageHash hash = 0;
    PageId page = -1;  // -1: this slot is unused
    int locks = 0;
    int first_child = k_no_node;               // the newest
    int older = k_no_node, newer = k_no_node;  // of the same parent
    uint64_t last_used = 0;
    std::string scope;
  };
  const Node& at(int node) const { return nodes_[static_cast<size_t>(node)]; }
  Node& at(int node) { return nodes_[static_cast<size_t>(node)]; }
  int& first_child(int parent) { return parent == k_no_node ? first_ : at(parent).first_child; }
  const int32_t* tokens(int node) const;
  void rest(int node);  // enters or leaves `idle_` as locks and children say

  int page_tokens_;
  std::vector<Node> nodes_;
  int first_ = k_no_node;        // of those without a parent
  std::vector<int32_t> tokens_;  // [nodes_, page_tokens]
  std::vector<int> unused_;
  std::unordered_map<PageHash, int> by_hash_;
  std::set<std::pair<uint64_t, int>> idle_;  // unlocked leaves by last use
  uint64_t clock_ = 0;
  int size_ = 0;
  int unlocked_ = 0;
};

}  // namespace millrace
