// Rotary embedding: one block per token, one thread per pair, which turns it in every head. Angles
// are made in double as the reference makes them; a pair's sine and cosine serve all heads.

#include "ops/cuda/launch.h"
#include "ops/cuda/operators.h"

namespace millrace::cuda {
namespace {

constexpr int k_threads = 128;

__global__ void __launch_bounds__(k_threads) rope_kernel(const __grid_constant__ RopeArgs args) {
  begin_kernel();
  float* token = args.x + static_cast<int64_t>(blockIdx.x) * args.x_stride;
  const double position = args.positions[blockIdx.x];
  const int pairs = args.rotary / 2;
  for (int i = static_cast<int>(threadIdx.x); i < pairs; i += k_threads) {
    const double angle = position * static_cast<double>(args.inv_freq[i]);
    const float cosine = static_cast<float>(cos(angle)) * args.magnitude;
    const float sine = static_cast<float>(sin(angle)) * args.magnitude;
    const int first = args.adjacent ? 2 * i : i;
    const int second = args.adjacent ? 2 * i + 1 : i + pairs;
    for (int head = 0; head < args.heads; ++head) {
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
  launch(stream, rope_kernel, {args.n}, k_threads, 0, staged);
}

}  // namespace millrace::cuda
