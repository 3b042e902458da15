// The vocabulary of AVX-512 with VNNI. Included inside the region only, after verbs-512.h,
// dot.h and no-matrices.h.

struct V : Verbs512, DotByFours<V>, NoMatrices {
  static constexpr const char* k_name = "avx512";
};
