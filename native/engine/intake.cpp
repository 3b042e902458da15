#include "engine/intake.h"

#include <exception>
#include <utility>

namespace millrace {

Intake::Intake(Prepare prepare, Deliver deliver)
    : prepare_(std::move(prepare)), deliver_(std::move(deliver)), thread_([this] { run(); }) {}

Intake::~Intake() {
  {
    const std::lock_guard lock(mutex_);
    is_ending_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void Intake::push(std::unique_ptr<Sequence> sequence) {
  {
    const std::lock_guard lock(mutex_);
    line_.push_back(std::move(sequence));
  }
  wake_.notify_one();
}

void Intake::forget(int64_t id) {
  const std::lock_guard lock(mutex_);
  std::erase_if(line_, [id](const auto& sequence) { return sequence->id == id; });
}

void Intake::run() {
  for (;;) {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return is_ending_ || !line_.empty(); });
    if (is_ending_) return;
    std::unique_ptr<Sequence> sequence = std::move(line_.front());
    line_.pop_front();
    lock.unlock();
    Status status;
    try {
      status = prepare_(*sequence);
    } catch (const std::exception&) {
      status = Status(ErrorCode::out_of_memory, "no memory to tokenize the prompt");
    }
    deliver_(std::move(sequence), std::move(status));
  }
}

}  // namespace millrace
