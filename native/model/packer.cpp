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
          if (!goes_on()) return;
      if (done) done();
    });
  } catch (const std::system_error&) {
  }
}

Packer::~Packer() {
  stopped_ = true;
  if (thread_.joinable()) thread_.join();
}

Packer::Rest Packer::rest() {
  ++rests_;
  return Rest(this);
}

void Packer::Resume::operator()(Packer* packer) const {
  --packer->rests_;
  packer->rests_.notify_one();
}

bool Packer::goes_on() const {
  for (int rests = rests_; rests > 0; rests = rests_) rests_.wait(rests);
  return !stopped_;
}

}  // namespace millrace
