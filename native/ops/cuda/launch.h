#pragma once
// launch(stream, kernel, grid, threads, shared_bytes, params): a kernel takes one plain struct. It
// starts with the others of its step, see Stream::record.

#include <type_traits>

#include "ops/cuda/platform.h"
#include "ops/cuda/stream.h"

#if defined(__CUDACC__)
#include "ops/cuda/launch.cuh"
#else
#include "ops/cuda/host/launch.h"
#endif

namespace millrace::cuda {

template <class Params>
void launch(Stream& stream, void (*kernel)(Params), Grid grid, int threads, size_t shared_bytes,
            const Params& params) {
  static_assert(std::is_trivially_copyable_v<Params>);
  stream.record(
      {reinterpret_cast<const void*>(kernel), call_of<Params>(), grid, threads, shared_bytes},
      &params, sizeof params);
}

// The parameters of the last kernel that was recorded and has not started, if it is this one; null
// otherwise. Who takes its work over drops it: see taken().
template <class Params>
const Params* last_params(Stream& stream, void (*kernel)(Params)) {
  return static_cast<const Params*>(
      stream.recorded().last_params(reinterpret_cast<const void*>(kernel)));
}

template <class Params>
Params taken(Stream& stream, const Params* last) {
  const Params params = *last;
  stream.recorded().drop_last();
  return params;
}

}  // namespace millrace::cuda
