// Every algorithm of the CPU tables, once per ISA, and the table itself.
// Add an .inl here and its functions below.

#include "ops/cpu/math.inl"
#include "ops/cpu/norm.inl"
#include "ops/cpu/rope.inl"
#include "ops/cpu/gate.inl"
#include "ops/cpu/embed.inl"

constexpr const char* k_isa_name = V::k_width == 16 ? "avx512" : "avx2";

const Ops k_ops{
    .name = k_isa_name,
    .packed_bytes = nullptr,
    .pack = nullptr,
    .pack_rows = 16,
    .kv_page_bytes = nullptr,
    .embed = embed,
    .norm = norm,
    .matmul = nullptr,
    .rope = rope,
    .store = nullptr,
    .attention = nullptr,
    .gate = gate,
    .add = add,
    .gather = gather,
};
