#include "engine/kv-cache.h"

namespace millrace {

namespace {

PageKey key_of(const PageTable& table, const PageText& text, int page_tokens) {
  const size_t n = table.nodes.size();
  const int parent = n == 0 ? PrefixIndex::k_no_node : table.nodes.back();
  const PageHash hash = n < text.chain.size() ? text.chain[n] : 0;  // 0: not a full page
  return {parent, hash, text.tokens + n * static_cast<size_t>(page_tokens), text.scope};
}

}  // namespace

KvCache::KvCache(int total_pages, int page_tokens)
    : pool_(total_pages), index_(page_tokens), page_tokens_(page_tokens) {}

int KvCache::match(PageTable& table, const PageText& text, int max_pages) {
  const size_t before = table.nodes.size();
  if (table.pages.size() != before) return 0;
  while (table.nodes.size() < static_cast<size_t>(max_pages)) {
    const int node = index_.find(key_of(table, text, page_tokens_));
    if (node == PrefixIndex::k_no_node) break;
    table.nodes.push_back(node);
    table.pages.push_back(index_.page(node));
    if (!index_.is_locked(node)) ++held_;
    index_.lock(node);
    pool_.share(index_.page(node));
  }
  return static_cast<int>(table.nodes.size() - before);
}

Likeness KvCache::most_alike(const PageTable& table, const PageText& text, int n) {
  return index_.most_alike(key_of(table, text, page_tokens_), n);
}

bool KvCache::grow(PageTable& table, int n_pages) {
  const int missing = n_pages - static_cast<int>(table.pages.size());
  if (missing <= 0) return true;
  if (missing > available()) return false;
  table.pages.reserve(static_cast<size_t>(n_pages));
  while (pool_.free_count() < missing) {
    pool_.release(index_.evict());
    ++evictions_;
  }
  held_ += missing;
  return pool_.take(missing, table.pages);
}

void KvCache::publish(PageTable& table, const PageText& text, int n_full) {
  while (table.nodes.size() < static_cast<size_t>(n_full)) {
    PageId& page = table.pages[table.nodes.size()];
    const PageKey key = key_of(table, text, page_tokens_);
    int node = index_.find(key);
    if (node == PrefixIndex::k_no_node) {
      node = index_.insert(key, page);
      if (node == PrefixIndex::k_no_node) return;  // another page has this hash: stays private
      pool_.share(page);                           // the index is a holder too
    } else {
      if (index_.is_locked(node)) --held_;  // else the twin becomes held in this page's stead
      pool_.release(page);
      page = index_.page(node);
      pool_.share(page);
    }
    index_.lock(node);
    table.nodes.push_back(node);
  }
}

void KvCache::publish_end(PageTable& table, const PageText& text, int n_tokens) {
  const size_t n_full = table.nodes.size(), first = n_full * static_cast<size_t>(page_tokens_);
  const int n = n_tokens - static_cast<int>(first);
  if (n <= 0 || n >= page_tokens_ || table.pages.size() != n_full + 1) return;
  PageKey key = key_of(table, text, page_tokens_);
  if (index_.most_alike(key, n).n_tokens == n) return;
  std::vector<int32_t> tokens(text.tokens + first, text.tokens + first + n);
  tokens.resize(static_cast<size_t>(page_tokens_), -1);  // no token, so no page is like it there
  key.tokens = tokens.data();
  key.hash = chain_hash(n_full == 0 ? scope_hash(text.scope) : text.chain[n_full - 1], key.tokens,
                        page_tokens_);
  const int node = index_.insert(key, table.pages.back());
  if (node == PrefixIndex::k_no_node) return;
  pool_.share(table.pages.back());
  index_.lock(node);
  table.nodes.push_back(node);
}

void KvCache::release(PageTable& table) {
  for (size_t i = table.pages.size(); i-- > 0;) {
    const bool indexed = i < table.nodes.size();
    if (indexed) index_.unlock(table.nodes[i]);
    if (!indexed || !index_.is_locked(table.nodes[i])) --held_;
    pool_.release(table.pages[i]);
  }
  table.pages.clear();
  table.nodes.clear();
}

int KvCache::exclusive(const PageTable& table) const {
  int count = static_cast<int>(table.pages.size() - table.nodes.size());
  for (const int node : table.nodes) count += index_.locks(node) == 1 ? 1 : 0;
  return count;
}

Status KvCache::check(const std::vector<const PageTable*>& tables) const {
  std::vector<int> holders(static_cast<size_t>(total()), 0);
  int held = 0, cached = 0, free = 0;
  for (const PageTable* table : tables) {
    for (const PageId page : table->pages)
      held += holders[static_cast<size_t>(page)]++ == 0 ? 1 : 0;
  }
  for (const int node : index_.nodes()) {
    cached += holders[static_cast<size_t>(index_.page(node))]++ == 0 ? 1 : 0;
  }
  for (PageId page = 0; page < total(); ++page) {
    const int counted = holders[static_cast<size_t>(page)];
    free += counted == 0 ? 1 : 0;
    if (counted == pool_.holders(page)) continue;
    return error(ErrorCode::internal, "Expected page %d to have %d holders but it has %d", page,
                 counted, pool_.holders(page));
  }
  if (free == free_count() && cached == cached_count() && held == held_) return {};
  return error(ErrorCode::internal,
               "Expected %d free + %d cached + %d held pages of %d but counted %d + %d + %d",
               free_count(), cached_count(), held_, total(), free, cached, held);
}

}  // namespace millrace
