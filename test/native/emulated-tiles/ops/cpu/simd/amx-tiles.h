// Tile registers in plain C++, for a processor that has AVX-512 but no AMX: the products of
// native/ops/cpu/simd/amx-tiles.h, by their definition.

struct Tiles {
  static constexpr int k_products = 16 * 16;

  template <int Steps>
  static void begin_matrices() {
    steps() = Steps;
  }
  static void end_matrices() { steps() = 0; }

  static void multiply(const uint8_t* const (&codes)[2], const int8_t* const (&x)[2], int stride,
                       int32_t (*out)[k_products]) {
    for (int i = 0; i < 2; ++i)
      for (int token = 0; token < 16; ++token)
        for (int row = 0; row < 16; ++row) {
          int32_t sum = 0;
          for (int column = 0; column < 4 * steps(); ++column) {
            const int at = column / 4 * 64 + row * 4 + column % 4;
            sum += static_cast<int8_t>(codes[i][at]) * x[i][token * stride + column];
          }
          out[i][token * 16 + row] = sum;
        }
  }

 private:
  static int& steps() {  // 0: outside of begin and end, where products are zero
    static thread_local int k_steps = 0;
    return k_steps;
  }
};
