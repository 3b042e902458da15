#pragma once
// What happens to who reads bytes of a mapped file that are gone, because it has become shorter, or
// that the disk refuses: from there on it reads zeros and the guard knows, where the operating
// system would end the process (SIGBUS). The handler is there while a guard is; signals from
// elsewhere go on to the handler before it. Threads: any; the handler runs on the one that reads.

#include <cstddef>

namespace millrace {

struct MappedRange;

class MapGuard {
 public:
  // The mapping ends after the guard. Of no bytes, or where memory is refused, it guards nothing.
  MapGuard(const void* begin, size_t n_bytes);
  ~MapGuard();
  MapGuard(const MapGuard&) = delete;
  MapGuard& operator=(const MapGuard&) = delete;

  bool is_whole() const;  // false: a read met bytes that are gone

 private:
  MappedRange* range_ = nullptr;
};

}  // namespace millrace
