#pragma once
// The packed form of a weight: groups of 16 rows, so that a lane of a vector is a row and K is
// walked in order. One layout for every CPU table, read front to back: a group is a row of units, a
// unit is scales, then the codes they belong to (a second stream beside the codes halved the
// bandwidth).
//   codes   per 32 of K ("block"): planes of 64 bytes. Byte 4 * row + j of a plane belongs to row
//           `row` and, for step s, to k = 4 * s + j:
//           4 bits: plane t holds step t below and step t + 4 above; 2 bits: plane t holds steps
//           t, t + 2, t + 4, t + 6 from bit 0 up; 1 bit: one plane, step s in bit s;
//           8 bits: plane s is step s. 3, 5, 6 bits: the planes of the high bits, then those of the
//           low ones: read in order, as the processor's own prefetching likes it.
//           16 bits: signed, in pairs: plane s holds k = 2 * s and 2 * s + 1.
//   scales  half: a unit is a block; 16 f16 (bf16), one per row, then 16 minima if there are any;
//           super: a unit is 256 of K; 16 f16 (two sets with minima), then 16 bytes per sub-block,
//           then 16 bytes of minima per sub-block. A value is d * scale * code - dmin * min;
//           wide: a unit is 256 of K or what is left; 16 f32, powers of two. Codes are summed by
//           64 of K, two blocks, of which the last may be zeros; those have a length of at most
//           k_most_codes as a vector.
// F32: for each k, the 16 values of the group. Rows beyond the last are zero.
//
// F16 and BF16 are wide. The codes of an input have a length of at most k_most_inputs, so no sum of
// products over 64 of K leaves 32 bits (Cauchy and Schwarz). Codes are whole numbers of at most 16
// bits: where values are about even, F16 is exact down to an 8th of the largest and BF16 to a
// 64th, and what is smaller is rounded to the same step. Threads: pure functions; callers may pack
// disjoint row ranges at once.

#include <cstddef>
#include <cstdint>

#include "ops/ops.h"

namespace millrace {

inline constexpr int k_group_rows = 16;
inline constexpr int k_block_cols = 32;
inline constexpr int k_super_cols = 256;
inline constexpr int k_wide_cols = 64;  // of one sum
inline constexpr int k_plane_bytes = 64;
inline constexpr float k_most_codes = 65500, k_most_inputs = 32760;  // wide: lengths

enum class Scales : uint8_t { none, wide, f16, bf16, super };

// How a type is packed, and how its codes become numbers.
struct Form {
  int bits = 0;  // stored per code; 0: not a packed quantization
  Scales scales = Scales::none;
  int sub = k_block_cols;  // codes per scale: 16 or 32
  bool has_min = false;
  bool is_scale_signed = false;  // super: sub-scales are int8, otherwise uint8
};

constexpr Form form_of(DType dtype) {
  switch (dtype) {
    case DType::f16:
    case DType::bf16:
      return {.bits = 16, .scales = Scales::wide};
    case DType::q4_0:
      return {.bits = 4, .scales = Scales::f16};
    case DType::q4_1:
      return {.bits = 4, .scales = Scales::f16, .has_min = true};
    case DType::q5_0:
      return {.bits = 5, .scales = Scales::f16};
    case DType::q5_1:
      return {.bits = 5, .scales = Scales::f16, .has_min = true};
    case DType::q8_0:
      return {.bits = 8, .scales = Scales::f16};
    case DType::iq4_nl:
      return {.bits = 4, .scales = Scales::f16};
    case DType::mxfp4:
      return {.bits = 4, .scales = Scales::bf16};
    case DType::q2_k:
      return {.bits = 2, .scales = Scales::super, .sub = 16, .has_min = true};
    case DType::q3_k:
      return {.bits = 3, .scales = Scales::super, .sub = 16, .is_scale_signed = true};
    case DType::q4_k:
      return {.bits = 4, .scales = Scales::super, .has_min = true};
    case DType::q5_k:
      return {.bits = 5, .scales = Scales::super, .has_min = true};
    case DType::q6_k:
      return {.bits = 6, .scales = Scales::super, .sub = 16, .is_scale_signed = true};
    case DType::iq4_xs:
      return {.bits = 4, .scales = Scales::super, .is_scale_signed = true};
    default:
      return {};
  }
}

// The unit of a group: its columns, the bytes of its scales, and all its bytes. Of wide forms a
// block is the least, for the last unit may be short.
constexpr int unit_cols(const Form& form) {
  return form.scales == Scales::super ? k_super_cols : k_block_cols;
}
constexpr int unit_scale_bytes(const Form& form) {
  const int sets = form.has_min ? 2 : 1;
  if (form.scales == Scales::wide) return int(sizeof(float)) * k_group_rows;
  if (form.scales != Scales::super) return sets * 2 * k_group_rows;
  return (sets * (2 + k_super_cols / form.sub) * k_group_rows + 63) / 64 * 64;
}
constexpr int unit_bytes(const Form& form) {
  return unit_scale_bytes(form) + unit_cols(form) / k_block_cols * form.bits * k_plane_bytes;
}

// The low bits of a code of fewer than 8, which lie in planes of their own.
constexpr int low_bits(int bits) { return bits < 4 ? 2 : 4; }

constexpr int wide_blocks(int cols) { return (cols + k_wide_cols - 1) / k_wide_cols; }

constexpr size_t group_bytes(DType dtype, int cols) {
  if (dtype == DType::f32) return sizeof(float) * k_group_rows * size_t(cols);
  const Form form = form_of(dtype);
  if (form.scales == Scales::wide)
    return size_t(wide_blocks(cols)) * k_wide_cols * sizeof(int16_t) * k_group_rows +
           size_t((cols + k_super_cols - 1) / k_super_cols) * size_t(unit_scale_bytes(form));
  return size_t(cols / unit_cols(form)) * size_t(unit_bytes(form));
}

// Members of Ops. A type without a packed form, or columns that are not whole units, take 0 bytes.
// Wide forms are packed by the vectors of each table: see wide.inl.
size_t packed_bytes(DType dtype, int rows, int cols);
void pack(const Weight& plain, void* packed, int first_row, int n_rows);

}  // namespace millrace
