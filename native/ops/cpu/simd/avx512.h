// The vocabulary of AVX-512 with VNNI. Included inside the region only, after verbs-512.h,
// dot.h and no-matrices.h.

struct V : Verbs512, DotByFours<V>, NoMatrices {
  static constexpr const char* k_name = "avx512";
  static constexpr int k_direct_tokens = 32;  // up to so many, matmul reads the packed form
  // Whether a product of few tokens asks for every line of its weights. Q8_0, one token, on Zen 4:
  // 24 to 27 GB/s without, 17 with.
  static constexpr bool k_prefetches_all = false;
};
