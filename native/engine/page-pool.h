#pragma once
// The pages of one KV cache, by number. Pages are counted, not owned one by one: a page is free, or
// has at least one holder (a sequence, or the prefix index). Where their bytes lie is not known
// here. Threads: engine thread only.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace millrace {

using PageId = int32_t;

class PagePool {
 public:
  explicit PagePool(int total);

  // Appends n pages with one holder each to `pages`, or takes none. Never evicts; KvCache does
  // that.
  bool take(int n, std::vector<PageId>& pages);
  void share(PageId page);    // +1 holder
  void release(PageId page);  // -1 holder; free at zero

  int holders(PageId page) const { return holders_[static_cast<size_t>(page)]; }
  int free_count() const { return static_cast<int>(free_.size()); }
  int total() const { return static_cast<int>(holders_.size()); }

 private:
  std::vector<PageId> free_;      // a stack: the page released last is taken first
  std::vector<int32_t> holders_;  // per page
};

}  // namespace millrace
