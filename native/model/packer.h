#pragma once
// Packs matrices one after the other on a thread of low priority, until all are done or it is
// destroyed. Where the system refuses the thread, steps do it all.
// Threads: made and destroyed by any.

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "model/matrix.h"

namespace millrace {

class Packer {
 public:
  // The matrices outlive this object. `done`, which may be empty, is called at the end of the list.
  Packer(const Ops& ops, std::vector<const Matrix*> matrices, std::function<void()> done);
  ~Packer();
  Packer(const Packer&) = delete;
  Packer& operator=(const Packer&) = delete;

 private:
  std::atomic<bool> stopped_ = false;
  std::thread thread_;
};

}  // namespace millrace
