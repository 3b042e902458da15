#pragma once
// The kernels of a step, kept as they are asked for and started together. What a kernel reads is
// device memory and its parameters, of which this keeps a copy. Host code, in no need of CUDA.
// Threads: as Stream.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace millrace::cuda {

struct Grid {
  int x = 1, y = 1, z = 1;
  bool operator==(const Grid&) const = default;
};

// Runs a kernel on the host.
using Call = void (*)(const void* kernel, const void* params);

// One kernel and how it is started: all but its parameters.
struct Launch {
  const void* kernel;  // a void (*)(Params)
  Call call;           // null over the CUDA runtime, which starts kernels by their address
  Grid grid;
  int threads;
  size_t shared_bytes;
  bool operator==(const Launch&) const = default;
};

class Launches {
 public:
  // Parameters are a plain struct.
  void add(const Launch& launch, const void* params, size_t size_bytes);
  void clear();
  const void* last_params(const void* kernel) const;  // null where the last is another
  void drop_last();

  size_t size() const { return launches_.size(); }
  const Launch& operator[](size_t i) const { return launches_[i]; }
  const void* params(size_t i) const { return bytes_.data() + places_[i].at; }

  // Of all but the parameters.
  uint64_t hash() const;
  // The same kernels, started in the same way.
  bool alike(const Launches& other) const;
  // Between lists that are alike; copies the other's parameters of a kernel, false when they were
  // the same bytes.
  bool take_params(size_t i, const Launches& other);

 private:
  struct Place {
    size_t at, size_bytes;
    bool operator==(const Place&) const = default;
  };
  std::vector<Launch> launches_;
  std::vector<Place> places_;
  std::vector<char> bytes_;
};

}  // namespace millrace::cuda
