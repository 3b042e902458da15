#include "ops/cuda/launches.h"

#include <cstring>

namespace millrace::cuda {

void Launches::add(const Launch& launch, const void* params, size_t size_bytes) {
  constexpr size_t k_alignment = alignof(std::max_align_t);
  const size_t at = (bytes_.size() + k_alignment - 1) / k_alignment * k_alignment;
  bytes_.resize(at + size_bytes);
  std::memcpy(bytes_.data() + at, params, size_bytes);
  launches_.push_back(launch);
  places_.push_back({at, size_bytes});
}

void Launches::clear() {
  launches_.clear();
  places_.clear();
  bytes_.clear();
}

const void* Launches::last_params(const void* kernel) const {
  const bool is_last = !launches_.empty() && launches_.back().kernel == kernel;
  return is_last ? params(launches_.size() - 1) : nullptr;
}

void Launches::drop_last() {
  launches_.pop_back();
  bytes_.resize(places_.back().at);
  places_.pop_back();
}

uint64_t Launches::hash() const {
  uint64_t hash = 1469598103934665603u;
  const auto add = [&hash](uint64_t value) { hash = (hash ^ value) * 1099511628211u; };
  for (const Launch& launch : launches_) {
    add(reinterpret_cast<uintptr_t>(launch.kernel));
    for (const int size : {launch.grid.x, launch.grid.y, launch.grid.z, launch.threads})
      add(static_cast<uint64_t>(size));
    add(launch.shared_bytes);
  }
  return hash;
}

bool Launches::alike(const Launches& other) const {
  return launches_ == other.launches_ && places_ == other.places_;
}

bool Launches::take_params(size_t i, const Launches& other) {
  char* mine = bytes_.data() + places_[i].at;
  if (std::memcmp(mine, other.params(i), places_[i].size_bytes) == 0) return false;
  std::memcpy(mine, other.params(i), places_[i].size_bytes);
  return true;
}

}  // namespace millrace::cuda
