// Rotary embedding: one block for a token and some of its heads, one thread per pair, which turns
// it in each of them. Angles are made in double as the reference makes them.

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
  const int pairs = args.rotary / 2;
  const int first_head = static_cast<int>(blockIdx.y) * k_heads;
  const int end = first_head + k_heads < args.heads ? first_head + k_heads : args.heads;
  for (int i = static_cast<int>(threadIdx.x); i < pairs; i += k_threads) {
    const double angle = position * static_cast<double>(args.inv_freq[i]);
    const float cosine = static_cast<float>(cos(angle)) * args.magnitude;
    const float sine = static_cast<float>(sin(angle)) * args.magnitude;
    const int first = args.adjacent ? 2 * i : i;
    const int second = args.adjacent ? 2 * i + 1 : i + pairs;
    for (int head = first_head; head < end; ++head) {
      float* x = token + head * args.head_dim;
      const float a = x[first], b = x[second];
      x[first] = a * cosine - b * sine;
      x[second] = b * cosine + a * sine;
    }
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

}  // namespace millrace::cuda
