// The vocabulary of AMX (TILE, INT8): AVX-512 with VNNI, and tile registers that multiply whole
// matrices of bytes (Intel's Architecture Instruction Set Extensions manual, chapter on AMX).
// Included inside the region only, after verbs-512.h and dot.h.
//
// Written as assembly: the compilers' intrinsics name fixed registers all the same, and those of
// gcc do not say that they read memory. No compiler uses tile registers by itself.

struct V : Verbs512, DotByFours<V> {
  static constexpr const char* k_name = "amx";
  static constexpr int k_direct_tokens = 15;  // up to so many, matmul reads the packed form
  static constexpr int k_matrix_tokens = 16;  // of one multiply; 0: there is none

  // A thread that multiplies begins before and ends after: tile registers in use make switching
  // between threads slower.
  static void begin_matrices() { asm volatile("ldtilecfg %0" ::"m"(k_shapes)); }
  static void end_matrices() { asm volatile("tilerelease"); }

  // out[16 tokens][16 rows] = the products over Steps (4 or 8) steps of four columns. codes: signed
  // bytes, [Steps][16 rows][4]. x: signed bytes, 4 * Steps of each token, `stride` bytes apart.
  template <int Steps>
  [[gnu::always_inline]] static void multiply(const uint8_t* codes, const int8_t* x, int stride,
                                              int32_t* out) {
    static_assert(Steps == 8 || Steps == 4);
    if constexpr (Steps == 8)
      asm volatile(
          "tilezero %%tmm0\n\t"
          "tileloadd (%0,%1,1), %%tmm1\n\t"
          "tileloadd (%2,%3,1), %%tmm2\n\t"
          "tdpbssd %%tmm2, %%tmm1, %%tmm0\n\t"
          "tilestored %%tmm0, (%4,%3,1)" ::"r"(x),
          "r"(int64_t(stride)), "r"(codes), "r"(int64_t(k_bytes)), "r"(out)
          : "memory");
    else
      asm volatile(
          "tilezero %%tmm0\n\t"
          "tileloadd (%0,%1,1), %%tmm3\n\t"
          "tileloadd (%2,%3,1), %%tmm4\n\t"
          "tdpbssd %%tmm4, %%tmm3, %%tmm0\n\t"
          "tilestored %%tmm0, (%4,%3,1)" ::"r"(x),
          "r"(int64_t(stride)), "r"(codes), "r"(int64_t(k_bytes)), "r"(out)
          : "memory");
  }

 private:
  // What ldtilecfg reads. Register 0 holds products, 1 and 2 tokens and codes of 8 steps, 3 and 4
  // those of 4 steps.
  struct alignas(64) Shapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  };
  static_assert(sizeof(Shapes) == 64);
  static constexpr Shapes k_shapes{1, 0, {}, {64, 32, 64, 16, 64}, {16, 16, 8, 16, 4}};
};
