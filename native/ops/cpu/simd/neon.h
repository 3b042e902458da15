// The vocabulary of 64-bit ARM with dot products. Included inside the region only, after
// verbs-neon.h and dot.h.

struct V : VerbsNeon {
  static constexpr const char* k_name = "neon";

  // The sum of products, as avx2.h says it.
  template <int Bits, int Steps, int H, int T, class W, class Init, class Done>
  [[gnu::always_inline]] static void dot(W w, const int8_t* x, int stride, Init init, Done done) {
    dot_by_fours<V, Steps, H, T>(w, x, stride, init, done);
  }
};
