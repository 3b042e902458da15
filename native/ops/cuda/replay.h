#pragma once
// Starts the kernels of a step. To start them one by one costs the host some microseconds each,
// more than the shortest of them take; a graph of them costs about as much as one. The second time
// that a step has the same kernels they become a graph; from then on only parameters that differ
// are set before it starts. MILLRACE_CUDA_GRAPHS=0 leaves graphs out, for whoever has to see
// kernels start one by one. Of Graph it asks
//   static std::unique_ptr<Graph> make(Stream&, const Launches&)   null: refused
//   bool set(size_t i, const Launches&)    the parameters of kernel i; false: refused
//   bool start()                           false: refused, nothing was started
// Threads: as Stream.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <vector>

#include "ops/cuda/launches.h"

namespace millrace::cuda {

class Stream;

template <class Graph>
class Replay {
  static constexpr size_t k_fewest_kernels = 8;  // below, a graph saves nothing
  static constexpr size_t k_most_graphs = 32;    // up to 256 rows come in 28 sizes

 public:
  Replay() {
    const char* wanted = std::getenv("MILLRACE_CUDA_GRAPHS");
    is_off_ = wanted && std::string_view(wanted) == "0";
  }

  // False: nothing was started, and the kernels are to be started one by one.
  bool start(Stream& stream, const Launches& launches) {
    if (is_off_ || launches.size() < k_fewest_kernels) return false;
    Entry* entry = find(launches);
    if (!entry && !was_seen(launches.hash())) return false;
    if (!entry) entry = add(stream, launches);
    if (!entry || !update(*entry, launches) || !entry->graph->start()) {
      // What refuses one graph refuses the next, and what it lacks may be what these hold.
      is_off_ = true;
      clear();
      return false;
    }
    entry->used_at = ++now_;
    return true;
  }
  void clear() { entries_.clear(); }
  uint64_t started() const { return now_; }        // steps that went as a graph
  uint64_t changed() const { return n_changed_; }  // of their kernels, before they started

 private:
  struct Entry {
    Launches launches;  // with the parameters that the graph has
    std::unique_ptr<Graph> graph;
    uint64_t used_at = 0;
  };

  Entry* find(const Launches& launches) {
    for (Entry& entry : entries_)
      if (entry.launches.alike(launches)) return &entry;
    return nullptr;
  }

  // Remembers the last ones.
  bool was_seen(uint64_t hash) {
    if (std::find(seen_.begin(), seen_.end(), hash) != seen_.end()) return true;
    if (seen_.size() == k_most_graphs) seen_.erase(seen_.begin());
    seen_.push_back(hash);
    return false;
  }

  Entry* add(Stream& stream, const Launches& launches) {
    auto graph = Graph::make(stream, launches);
    if (!graph) return nullptr;
    if (entries_.size() == k_most_graphs)
      entries_.erase(
          std::min_element(entries_.begin(), entries_.end(),
                           [](const Entry& a, const Entry& b) { return a.used_at < b.used_at; }));
    entries_.push_back({launches, std::move(graph)});
    return &entries_.back();
  }

  bool update(Entry& entry, const Launches& launches) {
    for (size_t i = 0; i < launches.size(); ++i) {
      if (!entry.launches.take_params(i, launches)) continue;
      ++n_changed_;
      if (!entry.graph->set(i, launches)) return false;
    }
    return true;
  }

  std::vector<Entry> entries_;
  std::vector<uint64_t> seen_;  // hashes of steps without a graph
  uint64_t now_ = 0, n_changed_ = 0;
  bool is_off_ = false;
};

}  // namespace millrace::cuda
