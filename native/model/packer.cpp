#include "model/packer.h"

#include <system_error>
#include <utility>

#include "base/thread.h"

namespace millrace {

Packer::Packer(const Ops& ops, std::vector<const Matrix*> matrices, std::function<void()> done) {
  try {
    thread_ = std::thread([this, &ops, matrices = std::move(matrices), done = std::move(done)] {
      begin_background_thread("millrace-pack");
      for (const Matrix* matrix : matrices)
        while (matrix->pack_some(ops))
          if (stopped_.load(std::memory_order_relaxed)) return;
      if (done) done();
    });
  } catch (const std::system_error&) {
  }
}

Packer::~Packer() {
  stopped_ = true;
  if (thread_.joinable()) thread_.join();
}

}  // namespace millrace
