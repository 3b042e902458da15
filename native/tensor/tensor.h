#pragma once
// A matrix in memory that somebody else owns: element type, shape, distance between rows, pointer.
// A row is `cols` consecutive elements; no arithmetic here.
// Threads: plain values.

#include <cstdint>
#include <type_traits>

#include "tensor/dtype.h"

namespace millrace {

template <class Void>
struct BasicTensor {
  DType dtype = DType::f32;
  int64_t rows = 0;
  int64_t cols = 0;          // a multiple of the type's block
  int64_t stride_bytes = 0;  // from one row to the next
  Void* data = nullptr;

  Void* row(int64_t index) const {
    using Byte = std::conditional_t<std::is_const_v<Void>, const char, char>;
    return static_cast<Byte*>(data) + index * stride_bytes;
  }
};

struct Tensor : BasicTensor<void> {};
struct ConstTensor : BasicTensor<const void> {};

// Rows without gaps.
inline Tensor make_tensor(DType dtype, int64_t rows, int64_t cols, void* data) {
  return {{dtype, rows, cols, row_bytes(dtype, cols), data}};
}
inline ConstTensor make_tensor(DType dtype, int64_t rows, int64_t cols, const void* data) {
  return {{dtype, rows, cols, row_bytes(dtype, cols), data}};
}
inline ConstTensor as_const(const Tensor& tensor) {
  return {{tensor.dtype, tensor.rows, tensor.cols, tensor.stride_bytes, tensor.data}};
}

}  // namespace millrace
