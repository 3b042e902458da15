// The vocabulary of AVX-512 with VNNI. Included inside the region only, after verbs-512.h and
// dot.h.

struct V : Verbs512, DotByFours<V>, NoMatrices {
  static constexpr const char* k_name = "avx512";
  static constexpr int k_direct_tokens = 32;  // up to so many, matmul reads the packed form
};
