// Every algorithm of the CPU tables, once per ISA, and the table itself.
// Add an .inl here and its functions below.

constexpr const char* k_isa_name = V::k_width == 16 ? "avx512" : "avx2";

const Ops k_ops{
    .name = k_isa_name,
    .packed_bytes = nullptr,
    .pack = nullptr,
    .pack_rows = 16,
    .kv_page_bytes = nullptr,
    .embed = nullptr,
    .norm = nullptr,
    .matmul = nullptr,
    .rope = nullptr,
    .store = nullptr,
    .attention = nullptr,
    .gate = nullptr,
    .add = nullptr,
    .gather = nullptr,
};
