// For vocabularies whose processors have no registers for whole matrices (see amx.h for what the
// verbs do). Included inside the region only.

struct NoMatrices {
  static constexpr int k_matrix_tokens = 0;
  static void begin_matrices() {}
  static void end_matrices() {}
  template <int Steps>
  static void multiply(const uint8_t*, const int8_t*, int, int32_t*) {}
};
