#pragma once
// Which KV page holds what: the pool and the prefix index, and the rule that joins them.
// Invariant: every page is free, cached (known to the index, used by no sequence) or held (used by
// at least one sequence), and free + cached + held == total. Threads: engine thread only.

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/page-pool.h"
#include "engine/prefix-index.h"

namespace millrace {

// The pages of one sequence in order of position; the first nodes.size() of them are in the index
// and locked there.
struct PageTable {
  std::vector<PageId> pages;
  std::vector<int> nodes;
};

// The tokens of one sequence as the index sees them.
struct PageText {
  const int32_t* tokens;               // all of them
  const std::vector<PageHash>& chain;  // of each full page
  std::string_view scope;
};

class KvCache {
 public:
  KvCache(int total_pages, int page_tokens);

  // Appends pages that the index already knows, as long as at most max_pages are in the table.
  // Only for tables whose pages are all in the index. Returns the number appended.
  int match(PageTable& table, const PageText& text, int max_pages);
  // The page that begins with most of the first n tokens of the table's next one; for tables whose
  // pages are all in the index.
  Likeness most_alike(const PageTable& table, const PageText& text, int n);
  // Makes the table n_pages long, evicting cached pages if need be; all or nothing.
  bool grow(PageTable& table, int n_pages);
  // Enters the first n_full pages, now completely written, into the index. A page that the index
  // has already is given back and the known one used instead: both hold the same bits.
  void publish(PageTable& table, const PageText& text, int n_full);
  // Enters the last page of n tokens in all where it is not full: to copy from, not to share.
  void publish_end(PageTable& table, const PageText& text, int n_tokens);
  void release(PageTable& table);
  // Pages that nobody else uses, which release would make free or cached.
  int exclusive(const PageTable& table) const;

  int page_tokens() const { return page_tokens_; }
  int total() const { return pool_.total(); }
  int free_count() const { return pool_.free_count(); }
  int cached_count() const { return index_.unlocked(); }
  int held_count() const { return held_; }
  int available() const { return free_count() + cached_count(); }
  int64_t evictions() const { return evictions_; }

  bool identity_holds() const { return free_count() + cached_count() + held_ == total(); }
  // The same recounted page by page from the tables of all live sequences.
  Status check(const std::vector<const PageTable*>& tables) const;

 private:
  PagePool pool_;
  PrefixIndex index_;
  int page_tokens_;
  int held_ = 0;
  int64_t evictions_ = 0;
};

}  // namespace millrace
