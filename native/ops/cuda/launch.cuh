#pragma once
// What launch() needs to know over the CUDA runtime. Included by launch.h only.

#include <cuda_runtime.h>

namespace millrace::cuda {

template <class Params>
Call call_of() {
  return nullptr;
}

}  // namespace millrace::cuda
