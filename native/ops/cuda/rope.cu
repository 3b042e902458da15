// Rotary embedding: one block for a token and some of its heads, one thread per pair, which turns
// it in each of them.

#include "ops/cuda/rope.cuh"

#include "ops/cuda/launch.h"
#include "ops/cuda/operators.h"

namespace millrace::cuda {
namespace {

constexpr int k_threads = 128;
constexpr int k_heads = 4;  // of a block

__global__ void __launch_bounds__(k_threads) rope_kernel(const __grid_constant__ RopeArgs args) {
  begin_kernel();
  float* token = args.x + static_cast<int64_t>(blockIdx.x) * args.x_stride;
  const double position = args.positions[blockIdx.x];
  const int first_head = static_cast<int>(blockIdx.y) * k_heads;
  const int end = first_head + k_heads < args.heads ? first_head + k_heads : args.heads;
  for (int i = static_cast<int>(threadIdx.x); i < args.rotary / 2; i += k_threads) {
    const Turn turn = turn_of(args, position, i);
    for (int head = first_head; head < end; ++head)
      turn_pair(args, turn, i, token + head * args.head_dim);
  }
}

}  // namespace

void rope(Stream& stream, const RopeArgs& args) {
  RopeArgs staged = args;
  staged.positions = static_cast<const int32_t*>(
      stream.step().array(stream, args.positions, sizeof(int32_t) * static_cast<size_t>(args.n)));
  if (!staged.positions) return;
  launch(stream, rope_kernel, {args.n, divide_up(args.heads, k_heads)}, k_threads, 0, staged);
}

const RopeArgs* last_rope(Stream& stream) { return last_params(stream, rope_kernel); }

}  // namespace millrace::cuda
