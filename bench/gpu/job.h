#pragma once
// The GPU job: checks and timings of a device library without Node, so that one short call on a
// machine with a device says all that is wanted of it. It runs on the host form too, where `small`
// keeps it short and times mean nothing.
// Threads: one.

#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ops/device.h"

namespace millrace {

// Rows of the result: printed, and written as lines of JSON, as they come.
class Report {
 public:
  struct Value {
    const char* name;  // with its unit: "us", "GB_s"
    double value;
  };
  // At the end of this file as well.
  bool open(const std::string& path, const DeviceInfo& device);
  // Says what is about to be done, so that it is known where the program ends there.
  void begin(const std::string& name);
  void add(const std::string& name, const std::vector<Value>& values);
  void fail(const std::string& name, const std::string& why);
  int failures() const { return failures_; }

 private:
  void print(const std::string& name);
  void line(const std::string& json);

  std::shared_ptr<std::FILE> file_;
  std::string begun_;
  int failures_ = 0;
};

// Ends the program where it is not ok.
void must(const Status& status);

struct Job {
  Device& device;
  // The same device once more, which starts its kernels one by one, and none early.
  std::function<std::shared_ptr<Device>()> open_plain;
  bool small;
  std::string only;  // rows whose names have this in them
  int steps;         // 0: steps of models are timed; else each model does so many
  Report report;

  bool wants(const std::string& name) const { return name.find(only) != std::string::npos; }
};

// Device memory with the values of the host's, freed with the arena. Ends the program when the
// device refuses, as every helper of the job does: it has nobody to answer to.
class Arena {
 public:
  explicit Arena(Device& device) : device_(device) {}
  Device& device() { return device_; }

  void* bytes(size_t size_bytes, const void* from = nullptr);
  float* floats(const std::vector<float>& values);
  float* floats(size_t n) { return static_cast<float*>(bytes(n * sizeof(float))); }
  // What the device has there when it is done.
  template <class T>
  std::vector<T> read(const T* from, size_t n) {
    std::vector<T> values(n);
    must(device_.finish());
    must(device_.copy(values.data(), from, n * sizeof(T)));
    return values;
  }
  // As the device's table reads it.
  Weight weight(const Weight& plain);

 private:
  Device& device_;
  std::vector<Buffer> buffers_;
};

// A plain weight as the table reads it, in host memory; empty where it reads the plain form.
std::vector<uint8_t> packed(const Ops& ops, const Weight& plain);

// Normally distributed, the same for the same seed.
std::vector<float> normals(uint64_t seed, size_t n, float scale = 1);

// A weight of random values in host memory that `memory` keeps. The first `different` rows are, the
// rest repeats them: a prime, so that no tile's rows are those of another.
constexpr int k_different_rows = 61;
Weight random_weight(DType dtype, int rows, int cols, std::vector<uint8_t>& memory,
                     uint64_t seed = 0, int different = k_different_rows);

// The cache of `batch` sequences of `context` tokens each, the first pages to the first sequence.
struct Cache {
  KvCacheView view;
  std::vector<int32_t> pages;  // [batch, pages of a sequence]
  int pages_each;
};
Cache make_cache(Arena& arena, const KvShape& shape, int batch, int context);

// Median seconds of one call of `body`, which waits for the device, by the host's clock.
// `settle` waits for what it left on its way.
double seconds_of(Device& device, const std::function<void()>& body,
                  const std::function<void()>& settle = nullptr);
// The same of a body that does not wait, by what the device takes once many calls are recorded.
// What they are given comes again every `period` calls.
double device_seconds_of(Device& device, int period, const std::function<void()>& body);

void check_rows(Job& job);
void check_products(Job& job);
void check_attention(Job& job);
void check_bits(Job& job);
void check_steps(Job& job);
void time_operators(Job& job);
void time_models(Job& job);
// Writes small models, a prompt and its logits for whoever computes them anew: compare.py.
void write_models(Job& job, const std::string& folder);

}  // namespace millrace
