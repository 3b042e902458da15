// The vocabulary of 64-bit ARM with dot products. Included inside the region only, after
// verbs-neon.h and dot.h.

struct V : VerbsNeon, DotByFours<V> {
  static constexpr const char* k_name = "neon";
};
