// The CPU as a device: host memory, one queue over one pool of threads, one operator table.

#include "ops/device.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>

#include "base/cpu.h"
#include "base/thread-pool.h"
#include "ops/cpu/table.h"
#include "ops/memory.h"
#include "ops/reference.h"

namespace millrace {
namespace {

struct Row {
  const Ops* ops;
  bool supported;
};

// Best first; the reference table runs everywhere.
std::vector<Row> rows() {
  return {
#if defined(__x86_64__)
    {&amx::k_ops, cpu().amx && may_use_amx()}, {&avx512::k_ops, cpu().avx512},
        {&avx_vnni::k_ops, cpu().avx_vnni}, {&avx2::k_ops, cpu().avx2},
#elif defined(__aarch64__)
    {&neon_i8mm::k_ops, cpu().neon_i8mm}, {&neon::k_ops, cpu().neon_dot},
#endif
        {&k_reference_ops, true},
  };
}

Result<const Ops*> choose_table(const std::string& wanted) {
  std::string names;
  for (const Row& row : rows()) {
    if (!row.supported) continue;
    if (wanted.empty() || wanted == row.ops->name) return row.ops;
    names += std::string(names.empty() ? "" : ", ") + row.ops->name;
  }
  return error(ErrorCode::unsupported,
               "Expected the operator table to be one of %s on this processor but found \"%s\"",
               names.c_str(), wanted.c_str());
}

class CpuDevice : public Device {
 public:
  CpuDevice(const Ops& ops, int threads) : ops_(ops), pool_(threads), queue_(&pool_) {}

  DeviceInfo info() const override {
    return {"cpu", cpu().name, ops_.name, pool_.size(), cpu().memory_bytes, free_memory_bytes()};
  }
  const Ops& ops() const override { return ops_; }
  Queue& queue() override { return queue_; }

  bool shares_host_memory() const override { return true; }
  Status copy(void* to, const void* from, size_t size_bytes) override {
    std::memcpy(to, from, size_bytes);
    return {};
  }

  Result<Buffer> alloc(size_t size_bytes, const char* what) override {
    auto memory = host_memory(size_bytes);
    if (!memory)
      return error(ErrorCode::out_of_memory, "cannot allocate %zu bytes for %s", size_bytes, what);
    return Buffer(std::move(memory), size_bytes);
  }

  Status finish() override {
    ended_.clear();
    return queue_.take_error();
  }

  void end_step(const void* from, size_t size_bytes) override {
    if (ended_.size() == k_steps_on_way) return queue_.fail(too_many_steps());
    const auto* first = static_cast<const char*>(from);
    ended_.emplace_back(first, first + size_bytes);
  }
  Status collect(void* to) override {
    if (ended_.empty()) return no_step_on_way();
    std::copy(ended_.front().begin(), ended_.front().end(), static_cast<char*>(to));
    ended_.pop_front();
    return queue_.take_error();
  }

 private:
  const Ops& ops_;
  ThreadPool pool_;
  Queue queue_;
  std::deque<std::vector<char>> ended_;  // what came of each step on its way
};

}  // namespace

std::vector<std::string> cpu_tables() {
  std::vector<std::string> names;
  for (const Row& row : rows())
    if (row.supported) names.push_back(row.ops->name);
  return names;
}

Result<std::shared_ptr<Device>> open_cpu(const CpuOptions& options) {
  constexpr int k_max_threads = 1024;
  if (options.threads < 0 || options.threads > k_max_threads)
    return error(ErrorCode::invalid_argument, "Expected threads to be 0..%d but found %d",
                 k_max_threads, options.threads);
  std::string wanted = options.table ? options.table : "";
  const char* environment = std::getenv("MILLRACE_OPS");
  if (wanted.empty() && environment) wanted = environment;
  auto ops = choose_table(wanted);
  TRY(ops);
  const int threads = options.threads > 0 ? options.threads : cpu().cores;
  return std::shared_ptr<Device>(std::make_shared<CpuDevice>(**ops, threads));
}

}  // namespace millrace
