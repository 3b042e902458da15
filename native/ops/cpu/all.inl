// Every algorithm of the CPU tables, once per ISA, and the table itself.
// Add an .inl here and its functions below.

#include "ops/cpu/math.inl"
#include "ops/cpu/norm.inl"
#include "ops/cpu/rope.inl"
#include "ops/cpu/gate.inl"
#include "ops/cpu/embed.inl"
#include "ops/cpu/cache.inl"
#include "ops/cpu/attention-range.inl"
#include "ops/cpu/attention.inl"
#include "ops/cpu/unpack.inl"
#include "ops/cpu/tiles.inl"
#include "ops/cpu/wide.inl"
#include "ops/cpu/matmul.inl"
#include "ops/cpu/sample.inl"

const Ops k_ops{
    .name = V::k_name,
    .packed_bytes = packed_bytes,
    .pack = pack_by_vectors,
    .pack_rows = k_group_rows,
    .kv_page_bytes = kv_page_bytes,
    .embed = embed,
    .norm = norm,
    .matmul = matmul,
    .rope = rope,
    .store = store,
    .attention = attention,
    .gate = gate,
    .add = add,
    .gather = gather,
    .top_k = top_k,
    .sample = sample,
};
