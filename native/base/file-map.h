#pragma once
// A regular file as read-only memory: mapped, or read whole where mapping is not wanted.
// Invariant: bytes() stays valid and unchanged while the object lives, provided nobody writes to a
// mapped file meanwhile. What a shortened file has lost reads as zeros, and check() says so.
// Threads: immutable after open; any.

#include <functional>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/map-guard.h"
#include "base/result.h"

namespace millrace {

// What a long opening tells and asks while it runs, on its own thread; either may be empty.
struct OpenHooks {
  std::function<void(double)> progress;  // 0..1, never less than before
  std::function<bool()> cancelled;       // true ends the opening with code aborted

  // Hooks of a part of the work, whose 0..1 is begin..end of the whole.
  OpenHooks part(double begin, double end) const;
};

class FileMap {
 public:
  // not-found, io, or bad-file for a directory, an empty file or a device.
  static Result<std::shared_ptr<const FileMap>> open(const std::string& path, bool use_mmap,
                                                     const OpenHooks& hooks = {});
  ~FileMap();
  FileMap(const FileMap&) = delete;
  FileMap& operator=(const FileMap&) = delete;

  Bytes bytes() const { return bytes_; }
  bool mapped() const { return mapped_; }
  Status check() const;  // bad-file once a read met bytes that are gone or that the disk refused

  // Says that most of a mapping is not needed for now: its pages stay in the system's cache and no
  // longer count as this process's memory, until they are read again.
  void release_pages() const;

 private:
  FileMap(std::string path, std::shared_ptr<void> memory, size_t n_bytes, bool is_mapped);
  std::string path_;
  bool mapped_ = false;
  std::shared_ptr<void> memory_;  // releases the mapping or the buffer
  Bytes bytes_;
  MapGuard guard_;  // after memory_: it ends first
};

// For tests: what the operating system refuses from now on.
enum class FileFault { none, open, map, read, short_read, memory };
void fail_files_with(FileFault fault);

}  // namespace millrace
