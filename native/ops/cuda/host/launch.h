#pragma once
// launch() over the runner of kernels. Included by launch.h only.

#include <functional>

#include "ops/cuda/host/runner.h"

namespace millrace::cuda {

// How the host form runs: a test sets seed and faults, and reads the sites. Each launch draws its
// own schedule from the seed.
simt::Schedule& host_schedule();
void run_on_host(Stream& stream, Grid grid, int threads, size_t shared_bytes,
                 const std::function<void()>& body);

template <class Params>
void launch(Stream& stream, void (*kernel)(Params), Grid grid, int threads, size_t shared_bytes,
            const Params& params) {
  run_on_host(stream, grid, threads, shared_bytes, [kernel, &params] { kernel(params); });
}

}  // namespace millrace::cuda
