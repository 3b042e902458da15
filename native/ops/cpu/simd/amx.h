// The vocabulary of AMX (TILE, INT8): AVX-512 with VNNI, and tile registers that multiply whole
// matrices of bytes (Intel's Architecture Instruction Set Extensions manual, chapter on AMX).
// Included inside the region only, after verbs-512.h, dot.h and amx-tiles.h.

struct V : Verbs512, DotByFours<V>, Tiles {
  static constexpr const char* k_name = "amx";
  static constexpr int k_direct_tokens = 15;  // up to so many, matmul reads the packed form
  static constexpr int k_direct_costly = 15;
  // One token, two threads at a time, weights in memory, shares of what a thread reads then (14
  // GB/s): without 60 to 88 %; near alone Q4_K 87, Q6_K 82, Q4_0 94; far alone 90, 86, 97; both 96,
  // 95, 98. Far beyond 4 KiB loses again.
  static constexpr bool k_prefetches_all = true;
  static constexpr int k_prefetch_bytes = 1024;
  static constexpr int k_prefetch_far_bytes = 3072;
  static constexpr int k_matrix_tokens = 16;  // of one multiply; 0: there is none
};
