#pragma once
// What kernels are written in: CUDA C++ under nvcc; under a host compiler the same names over the
// runner of host/, which executes the unmodified source. One of two places that ask which it is;
// the other is launch.h.

#if defined(__CUDACC__)
#include "ops/cuda/hopper.cuh"
#include "ops/cuda/ptx.cuh"
#else
#include "ops/cuda/host/cuda.h"
#include "ops/cuda/host/hopper.h"
#include "ops/cuda/host/ptx.h"
#endif

namespace millrace::cuda {

constexpr int k_warp = 32;

__device__ __forceinline__ int lane_of_thread() { return static_cast<int>(threadIdx.x) % k_warp; }
__device__ __forceinline__ int warp_of_thread() { return static_cast<int>(threadIdx.x) / k_warp; }

}  // namespace millrace::cuda
