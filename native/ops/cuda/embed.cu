// Rows of the embedding table to f32: one block per token, one thread per block of values. The
// table is plain, of any type; a thread takes its block apart in local memory, which costs nothing
// next to a step.

#include "ops/cuda/launch.h"
#include "ops/cuda/operators.h"
#include "tensor/dtype.h"

namespace millrace::cuda {
namespace {

constexpr int k_threads = 64;

template <class Block>
__global__ void __launch_bounds__(k_threads) embed_kernel(const __grid_constant__ EmbedArgs args) {
  begin_kernel();
  const auto i_row = static_cast<int64_t>(blockIdx.x);
  const auto* row = reinterpret_cast<const Block*>(static_cast<const char*>(args.table.data) +
                                                   args.token(i_row) * args.table.row_bytes);
  float* out = args.out + i_row * args.table.cols;
  const int blocks = args.table.cols / Block::k_values;
  for (int i = static_cast<int>(threadIdx.x); i < blocks; i += k_threads) {
    float values[Block::k_values];
    decode(row[i], values);
    for (int j = 0; j < Block::k_values; ++j) out[i * Block::k_values + j] = values[j] * args.scale;
  }
}

}  // namespace

void embed(Stream& stream, const EmbedArgs& args) {
  for (int i = 0; i < args.n; ++i)
    if (!args.can_tell(args.tokens[i]))
      return stream.fail(error(ErrorCode::invalid_argument,
                               "Expected a token id below %d but found %d", args.table.rows,
                               args.tokens[i]));
  EmbedArgs staged = args;
  staged.n_drawn = 0;  // what differs between like steps stays with the host
  staged.tokens = static_cast<const int32_t*>(
      stream.step().array(stream, args.tokens, sizeof(int32_t) * static_cast<size_t>(args.n)));
  if (!staged.tokens) return;
  switch (args.table.dtype) {
#define ROW(id, Block, name, gguf_id, values, bytes) \
  case DType::id:                                    \
    return launch(stream, embed_kernel<Block>, {args.n}, k_threads, 0, staged);
    MILLRACE_FOR_EACH_DTYPE(ROW)
#undef ROW
  }
}

}  // namespace millrace::cuda
