#pragma once
// launch() over the CUDA runtime. Included by launch.h only.

#include <cuda_runtime.h>

namespace millrace::cuda {

constexpr size_t k_default_shared_bytes = 48 * 1024;  // more must be asked for, once per kernel

cudaStream_t stream_handle(Stream& stream);
// Records a failed call; true when it was none.
bool passed(Stream& stream, cudaError_t code, const char* what);

template <class Params>
void launch(Stream& stream, void (*kernel)(Params), Grid grid, int threads, size_t shared_bytes,
            const Params& params) {
  if (shared_bytes > k_default_shared_bytes &&
      !passed(stream,
              cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(shared_bytes)),
              "asking for shared memory"))
    return;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y),
                        static_cast<unsigned>(grid.z));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream_handle(stream);
  passed(stream, cudaLaunchKernelEx(&config, kernel, params), "starting a kernel");
}

}  // namespace millrace::cuda
