// For vocabularies whose processors have no registers for whole matrices (see amx.h for what the
// verbs do). Included inside the region only.

struct NoMatrices {
  static constexpr int k_matrix_tokens = 0;
  template <int Steps>
  static void begin_matrices() {}
  static void end_matrices() {}
  static void multiply(const uint8_t* const (&)[2], const int8_t* const (&)[2], int, void*) {}
};
