// Gate, add and gather: one thread per value.

#include "ops/cuda/gate.cuh"
#include "ops/cuda/launch.h"
#include "ops/cuda/operators.h"

namespace millrace::cuda {
namespace {

constexpr int k_threads = 256;

__device__ __forceinline__ int64_t value_of_thread() {
  return static_cast<int64_t>(blockIdx.x) * k_threads + threadIdx.x;
}

__global__ void __launch_bounds__(k_threads) gate_kernel(const __grid_constant__ GateArgs args) {
  begin_kernel();
  const int64_t i = value_of_thread();
  if (i < args.count) args.out[i] = activate(args.gate[i], args.act) * args.up[i];
}

__global__ void __launch_bounds__(k_threads) add_kernel(const __grid_constant__ AddArgs args) {
  begin_kernel();
  const int64_t i = value_of_thread();
  if (i < args.count) args.x[i] += args.y[i];
}

__global__ void __launch_bounds__(k_threads)
    gather_kernel(const __grid_constant__ GatherArgs args) {
  begin_kernel();
  const int64_t i = value_of_thread();
  if (i >= static_cast<int64_t>(args.n) * args.dim) return;
  args.out[i] = args.x[static_cast<int64_t>(args.rows[i / args.dim]) * args.dim + i % args.dim];
}

}  // namespace

void gate(Stream& stream, const GateArgs& args) {
  launch(stream, gate_kernel, {divide_up(args.count, k_threads)}, k_threads, 0, args);
}

const GateArgs* last_gate(Stream& stream) { return last_params(stream, gate_kernel); }

void add(Stream& stream, const AddArgs& args) {
  launch(stream, add_kernel, {divide_up(args.count, k_threads)}, k_threads, 0, args);
}

void gather(Stream& stream, const GatherArgs& args) {
  GatherArgs staged = args;
  staged.rows = static_cast<const int32_t*>(
      stream.step().array(stream, args.rows, sizeof(int32_t) * static_cast<size_t>(args.n)));
  if (!staged.rows) return;
  const int64_t values = static_cast<int64_t>(args.n) * args.dim;
  launch(stream, gather_kernel, {divide_up(values, k_threads)}, k_threads, 0, staged);
}

}  // namespace millrace::cuda
