#pragma once
// What launch() needs to know over the runner of kernels. Included by launch.h only.

#include <atomic>

#include "ops/cuda/host/runner.h"

namespace millrace::cuda {

// How the host form runs: a test sets seed and faults, and reads the sites. Each launch draws its
// own schedule from the seed.
simt::Schedule& host_schedule();
std::atomic<uint64_t>& host_kernels();  // that have run, of all streams

template <class Params>
Call call_of() {
  return [](const void* kernel, const void* params) {
    reinterpret_cast<void (*)(Params)>(const_cast<void*>(kernel))(
        *static_cast<const Params*>(params));
  };
}

}  // namespace millrace::cuda
