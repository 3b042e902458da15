#pragma once
// launch(stream, kernel, grid, threads, shared_bytes, params): a kernel takes one plain struct.

#include "ops/cuda/platform.h"
#include "ops/cuda/stream.h"

namespace millrace::cuda {

struct Grid {
  int x = 1, y = 1, z = 1;
};

}  // namespace millrace::cuda

#if defined(__CUDACC__)
#include "ops/cuda/launch.cuh"
#else
#include "ops/cuda/host/launch.h"
#endif
