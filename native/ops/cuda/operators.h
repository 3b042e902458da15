#pragma once
// The operators of ops.h on a Stream: each checks what the host can check, stages the small arrays
// of the step and starts its kernels. Pointers to activations, weights and caches are device
// memory; tokens, positions, rows and spans are host memory. Errors go to the stream.

#include "ops/cuda/stream.h"
#include "ops/ops.h"

namespace millrace::cuda {

void embed(Stream& stream, const EmbedArgs& args);
void norm(Stream& stream, const NormArgs& args);
void matmul(Stream& stream, const MatmulArgs& args);
void rope(Stream& stream, const RopeArgs& args);
void store(Stream& stream, const StoreArgs& args);
void attention(Stream& stream, const AttentionArgs& args);
void gate(Stream& stream, const GateArgs& args);
void add(Stream& stream, const AddArgs& args);
void gather(Stream& stream, const GatherArgs& args);
void top_k(Stream& stream, const TopKArgs& args);
void sample(Stream& stream, const SampleArgs& args);

// The part of matmul whose weight is f32, in the plain layout.
void multiply_f32(Stream& stream, const MatmulArgs& args, const Product& product);

// Multiplies by warpgroups and by warps and tells the stream whether they round alike.
Status check_groups(Stream& stream);

size_t kv_page_bytes(const KvShape& shape);

}  // namespace millrace::cuda
