// Tile registers. Included inside AMX's region only; a build that emulates them has a file of this
// name in test/native/emulated-tiles instead.
//
// Written as assembly: the compilers' intrinsics name fixed registers all the same, and those of
// gcc do not say that they read memory. No compiler uses tile registers by itself.

struct Tiles {
  static constexpr int k_products = 16 * 16;
  static constexpr int k_row_bytes = 64;

  // A thread that multiplies begins before and ends after: tile registers in use make switching
  // between threads slower. Steps, here and below: 4 or 8, of four columns.
  template <int Steps>
  static void begin_matrices() {
    asm volatile("ldtilecfg %0" ::"m"(k_shapes<Steps>));
  }
  static void end_matrices() { asm volatile("tilerelease"); }

  // Two products at once, so that the second hides the latency of the first: out[i] [16 tokens][16
  // rows] = the sum over the columns. codes: signed bytes, [Steps][16 rows][4]. x: signed bytes,
  // 4 * Steps of each token, `stride` bytes apart.
  [[gnu::always_inline]] static void multiply(const uint8_t* const (&codes)[2],
                                              const int8_t* const (&x)[2], int stride,
                                              int32_t (*out)[k_products]) {
    asm volatile(
        "tilezero %%tmm0\n\t"
        "tileloadd (%[x0],%[stride],1), %%tmm2\n\t"
        "tileloadd (%[codes0],%[row],1), %%tmm4\n\t"
        "tdpbssd %%tmm4, %%tmm2, %%tmm0\n\t"
        "tilezero %%tmm1\n\t"
        "tileloadd (%[x1],%[stride],1), %%tmm3\n\t"
        "tileloadd (%[codes1],%[row],1), %%tmm5\n\t"
        "tdpbssd %%tmm5, %%tmm3, %%tmm1\n\t"
        "tilestored %%tmm0, (%[out0],%[row],1)\n\t"
        "tilestored %%tmm1, (%[out1],%[row],1)"
        :
        : [x0] "r"(x[0]), [x1] "r"(x[1]), [stride] "r"(int64_t(stride)), [codes0] "r"(codes[0]),
          [codes1] "r"(codes[1]), [row] "r"(int64_t(k_row_bytes)), [out0] "r"(out[0]),
          [out1] "r"(out[1])
        : "memory");
  }

 private:
  // What ldtilecfg reads. Registers 0 and 1 hold products, 2 and 3 tokens, 4 and 5 codes.
  struct alignas(64) Shapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  };
  static_assert(sizeof(Shapes) == 64);
  template <int Steps>
  static constexpr Shapes k_shapes{
      1, 0, {}, {64, 64, 4 * Steps, 4 * Steps, 64, 64}, {16, 16, 16, 16, Steps, Steps}};
};
