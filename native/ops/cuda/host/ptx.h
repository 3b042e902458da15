#pragma once
// The host forms of ptx.cuh's instructions, with the fragment layouts of the PTX ISA 8.7, section
// 9.7.14 (matrix instructions) and 9.7.9.25 (asynchronous copies). Same names, same arguments.

#include "ops/cuda/host/cuda.h"

namespace millrace::cuda {

inline void check_aligned(const void* pointer, const Where& where) {
  if (reinterpret_cast<uintptr_t>(pointer) % 16) simt::fault(where, "an address off 16 bytes");
}

// 16 bytes of global memory into shared memory, or zeros where `present` is false.
inline void copy_async_16(void* to, const void* from, bool present,
                          const Where& where = Where::here()) {
  check_aligned(to, where);
  if (present) check_aligned(from, where);
  simt::copy_later(to, from, 16, !present);
}
inline void commit_copies() { simt::commit_copies(); }
template <int n_left>
inline void wait_copies(const Where& where = Where::here()) {
  simt::wait_copies(n_left, where);
}

// Four 8x8 matrices of 16-bit values: lane l hands in the address of row l % 8 of matrix l / 8 and
// gets the values 2 * (l % 4) and the next of row l / 4 of each; transposed, those of column l / 4.
template <bool transposed>
void load_words(uint32_t (&out)[4], const void* row, const Where& where) {
  check_aligned(row, where);
  struct Args {
    const char* row;
    uint32_t out[4];
  } args{static_cast<const char*>(row), {}};
  simt::meet_warp(
      [](void* const lanes[]) {
        for (int lane = 0; lane < simt::k_lanes; ++lane)
          for (int matrix = 0; matrix < 4; ++matrix)
            for (int i = 0; i < 2; ++i) {
              const int a = lane / 4, b = lane % 4 * 2 + i;
              const int from_row = transposed ? b : a, column = transposed ? a : b;
              const char* from = static_cast<Args*>(lanes[matrix * 8 + from_row])->row;
              auto* word = reinterpret_cast<char*>(&static_cast<Args*>(lanes[lane])->out[matrix]);
              std::memcpy(word + i * 2, from + column * 2, 2);
            }
      },
      &args, where);
  std::copy_n(args.out, 4, out);
}
inline void load_matrices(uint32_t (&out)[4], const void* row, const Where& where = Where::here()) {
  load_words<false>(out, row, where);
}
inline void load_matrices_transposed(uint32_t (&out)[4], const void* row,
                                     const Where& where = Where::here()) {
  load_words<true>(out, row, where);
}

// The 16 x 16 values of the fragment a, of which lane l holds rows l / 4 and l / 4 + 8, columns
// 2 * (l % 4), + 1, and those + 8.
template <float (*as_f32)(uint16_t)>
void take_rows(float (&rows)[16][16], int lane, const uint32_t* a) {
  for (int half = 0; half < 2; ++half)
    for (int i = 0; i < 4; ++i)
      rows[lane / 4 + i % 2 * 8][lane % 4 * 2 + i / 2 * 8 + half] =
          as_f32(static_cast<uint16_t>(a[i] >> (16 * half)));
}

// The sum of a fragment's row and 16 values of b.
inline float product_of(const float (&row)[16], const float* b) {
  float sum = 0;
  for (int k = 0; k < 16; ++k) sum += row[k] * b[k];
  return sum;
}

// c[16, 8] += a[16, 16] * b[16, 8]. Of b lane l holds column l / 4, rows as a's columns; of c rows
// l / 4 and l / 4 + 8, columns 2 * (l % 4) and the next.
template <float (*as_f32)(uint16_t)>
void multiply_fragments(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                        const Where& where) {
  struct Args {
    float* c;
    uint32_t a[4], b[2];
  } args{c, {a[0], a[1], a[2], a[3]}, {b0, b1}};
  simt::meet_warp(
      [](void* const lanes[]) {
        float left[16][16], right[8][16];
        for (int lane = 0; lane < simt::k_lanes; ++lane) {
          const auto* mine = static_cast<const Args*>(lanes[lane]);
          take_rows<as_f32>(left, lane, mine->a);
          for (int i = 0; i < 4; ++i)
            right[lane / 4][lane % 4 * 2 + i / 2 * 8 + i % 2] =
                as_f32(static_cast<uint16_t>(mine->b[i / 2] >> (i % 2 * 16)));
        }
        for (int lane = 0; lane < simt::k_lanes; ++lane)
          for (int i = 0; i < 4; ++i)
            static_cast<Args*>(lanes[lane])->c[i] +=
                product_of(left[lane / 4 + i / 2 * 8], right[lane % 4 * 2 + i % 2]);
      },
      &args, where);
}
inline void multiply_f16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                         const Where& where = Where::here()) {
  multiply_fragments<f16_to_f32>(c, a, b0, b1, where);
}
inline void multiply_bf16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                          const Where& where = Where::here()) {
  multiply_fragments<bf16_to_f32>(c, a, b0, b1, where);
}

}  // namespace millrace::cuda
