#pragma once
// Starts the kernels of a step. To start them one by one costs the host some microseconds each,
// more than the shortest of them take; a graph of them costs about as much as one (GPU.md,
// section 1.9). The second time in a row that a step has the same kernels they become a graph; from
// then on only parameters that differ are set before it starts. Of Graph it asks
//   static std::unique_ptr<Graph> make(Stream&, const Launches&)   null: refused
//   bool set(size_t i, const Launches&)    the parameters of kernel i; false: refused
//   void start()                           an error goes to the stream
// Threads: as Stream.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "ops/cuda/launches.h"

namespace millrace::cuda {

class Stream;

template <class Graph>
class Replay {
  static constexpr size_t k_fewest_kernels = 8;  // below, a graph saves nothing
  static constexpr size_t k_most_graphs = 16;    // for the batch sizes that come and go

 public:
  // False: nothing was started, and the kernels are to be started one by one.
  bool start(Stream& stream, const Launches& launches) {
    if (is_off_ || launches.size() < k_fewest_kernels) return false;
    Entry* entry = find(launches);
    if (!entry) {
      const bool is_new = !last_.alike(launches);
      last_ = launches;
      if (is_new) return false;
      entry = add(stream, launches);
      if (!entry) return false;
    } else if (!update(*entry, launches)) {
      return false;
    }
    entry->used_at = ++now_;
    entry->graph->start();
    return true;
  }
  void turn_off() { is_off_ = true; }
  void clear() { entries_.clear(); }

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

  // Null when refused. What refuses one graph refuses the next: no other is tried.
  Entry* add(Stream& stream, const Launches& launches) {
    auto graph = Graph::make(stream, launches);
    if (!graph) {
      turn_off();
      return nullptr;
    }
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
      if (entry.graph->set(i, launches)) continue;
      entries_.erase(entries_.begin() + (&entry - entries_.data()));
      turn_off();
      return false;
    }
    return true;
  }

  std::vector<Entry> entries_;
  Launches last_;  // of the step before, where it had no graph
  uint64_t now_ = 0;
  bool is_off_ = false;
};

}  // namespace millrace::cuda
