#include "binding/job.h"

#include <system_error>

#include "binding/status.h"

namespace millrace {

namespace {

Napi::Value cancel_function(Napi::Env env, const std::shared_ptr<Job>& job) {
  const std::weak_ptr<Job> weak = job;
  return Napi::Function::New(env, [weak](const Napi::CallbackInfo&) {
    if (const auto alive = weak.lock()) alive->cancel();
  });
}

}  // namespace

Napi::Value Job::start(Napi::Env env, Work work) {
  auto job = std::make_shared<Job>(env);
  job->work_ = std::move(work);
  job->wake_up_ = WakeUp::create(env, "millrace:job", [job](Napi::Env now) { job->wake(now); });
  if (!job->wake_up_) return Napi::Value();
  job->wake_up_->hold(true);
  Environment& environment = Environment::of(env);
  job->entry_ = environment.add([raw = job.get()] { raw->shut(); });
  try {
    job->thread_ = std::thread([raw = job.get()] { raw->run(); });
  } catch (const std::system_error&) {
    environment.remove(job->entry_);
    job->wake_up_->close();
    return throw_status(env, Status(ErrorCode::out_of_memory, "the system refused a thread"));
  }
  Napi::Object handle = Napi::Object::New(env);
  handle.Set("promise", job->deferred_.Promise());
  handle.Set("cancel", cancel_function(env, job));
  return handle;
}

void Job::run() {
  Settle settle;
  try {
    settle = work_(*this);
  } catch (...) {
    settle = [status = status_of_exception()](Napi::Env) { return Result<Napi::Value>(status); };
  }
  const std::lock_guard lock(mutex_);
  settle_ = std::move(settle);
  wake_up_->wake();
}

void Job::post(Step step) {
  const std::lock_guard lock(mutex_);
  steps_.push_back(std::move(step));
  wake_up_->wake();
}

void Job::wake(Napi::Env env) {
  std::vector<Step> steps;
  bool done = false;
  {
    const std::lock_guard lock(mutex_);
    steps.swap(steps_);
    done = static_cast<bool>(settle_);
  }
  for (const Step& step : steps) step(env);
  if (done && thread_.joinable()) end(env);  // a step may have ended the environment: see shut
}

void Job::end(Napi::Env env) {
  const std::shared_ptr<Job> self = shared_from_this();
  thread_.join();  // its last act was to wake us
  Environment::of(env).remove(entry_);
  wake_up_->close();
  Result<Napi::Value> result = Status(ErrorCode::internal, "internal error: settle threw");
  try {
    result = settle_(env);
  } catch (...) {
    result = status_of_exception();
  }
  settle_ = nullptr;
  work_ = nullptr;
  if (result.ok())
    deferred_.Resolve(*result);
  else
    deferred_.Reject(to_error(env, result.status()).Value());
}

void Job::shut() {
  cancel();
  if (thread_.joinable()) thread_.join();
  settle_ = nullptr;
  work_ = nullptr;
  steps_.clear();
}

}  // namespace millrace
