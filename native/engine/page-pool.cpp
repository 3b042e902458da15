#include "engine/page-pool.h"

namespace millrace {

PagePool::PagePool(int total) : holders_(static_cast<size_t>(total), 0) {
  free_.reserve(static_cast<size_t>(total));
  for (PageId page = total - 1; page >= 0; --page) free_.push_back(page);
}

bool PagePool::take(int n, std::vector<PageId>& pages) {
  if (n > free_count()) return false;
  for (int i = 0; i < n; ++i) {
    const PageId page = free_.back();
    free_.pop_back();
    holders_[static_cast<size_t>(page)] = 1;
    pages.push_back(page);
  }
  return true;
}

void PagePool::share(PageId page) { ++holders_[static_cast<size_t>(page)]; }

void PagePool::release(PageId page) {
  if (--holders_[static_cast<size_t>(page)] == 0) free_.push_back(page);
}

}  // namespace millrace
