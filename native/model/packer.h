#pragma once
// Packs matrices one after the other on a thread of low priority, until all are done or it is
// destroyed. Where the system refuses the thread, steps do it all.
// Threads: made and destroyed by any; rests are had by any.

#include <atomic>
#include <functional>
#include <memory>
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

  // While one lives, the thread takes no further range. Ends before the Packer does.
  struct Resume {
    void operator()(Packer* packer) const;
  };
  using Rest = std::unique_ptr<Packer, Resume>;
  Rest rest();

 private:
  bool goes_on() const;

  std::atomic<bool> stopped_ = false;
  std::atomic<int> rests_ = 0;
  std::thread thread_;
};

}  // namespace millrace
