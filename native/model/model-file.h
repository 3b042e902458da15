#pragma once
// What every model file offers, whatever its format: typed metadata and a directory of tensors
// whose bytes lie in memory. Invariant: text and arrays point into the file, which the ModelFile
// keeps; shapes, types, offsets and sizes have been checked against each other and against the
// file. Threads: immutable after open; any.

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/file-map.h"
#include "base/result.h"
#include "tensor/dtype.h"

namespace millrace {

// In the order and with the numbers of GGUF.
enum class ValueType : uint32_t {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  string,
  array,
  u64,
  i64,
  f64
};
const char* name_of(ValueType type);
size_t size_of(ValueType type);  // 0 for string and array

// A list of numbers, as it lies in the file; of booleans too, one byte each.
struct NumberArray {
  ValueType type;
  size_t count;
  const std::byte* data;  // not aligned
};

using StringArray = std::vector<std::string_view>;

struct Value {
  ValueType type;
  std::variant<int64_t, uint64_t, double, bool, std::string_view, NumberArray, StringArray> data;
};

class Metadata {
 public:
  struct Entry {
    std::string_view key;
    Value value;
  };

  // False when the key is there already.
  bool add(std::string_view key, Value value);

  const Value* find(std::string_view key) const;
  const std::vector<Entry>& entries() const { return entries_; }  // in file order

  // Required values: bad-file names the key, the expected type and what was found. Integers and
  // numbers accept every width that holds the value.
  Result<int64_t> integer(std::string_view key) const;
  Result<double> number(std::string_view key) const;
  Result<bool> boolean(std::string_view key) const;
  Result<std::string_view> string(std::string_view key) const;
  Result<std::vector<int64_t>> integers(std::string_view key) const;
  Result<std::vector<float>> numbers(std::string_view key) const;
  Result<StringArray> strings(std::string_view key) const;

  // Optional values: the fallback also stands in for a value of another type.
  int64_t integer_or(std::string_view key, int64_t fallback) const;
  double number_or(std::string_view key, double fallback) const;
  bool boolean_or(std::string_view key, bool fallback) const;
  std::string string_or(std::string_view key, std::string_view fallback) const;

 private:
  std::vector<Entry> entries_;
  std::unordered_map<std::string_view, size_t> index_;
};

struct TensorEntry {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;  // fastest dimension first: a matrix is [cols, rows]
  const std::byte* data = nullptr;
  size_t size_bytes = 0;

  int64_t values() const {
    int64_t n = 1;
    for (const int64_t extent : shape) n *= extent;
    return n;
  }
};

class ModelFile {
 public:
  virtual ~ModelFile() = default;
  virtual const Metadata& metadata() const = 0;
  virtual const std::vector<TensorEntry>& tensors() const = 0;  // in file order
  virtual const TensorEntry* find(std::string_view name) const = 0;
  virtual size_t size_bytes() const = 0;   // of all parts
  virtual void release_pages() const = 0;  // as FileMap's, likewise the next
  virtual Status check() const = 0;
};

// Opens a file of any known format. vocabulary_only: tensors of unknown types are passed over, and
// of a split file only the first part is read.
Result<std::shared_ptr<const ModelFile>> open_model_file(const std::string& path, bool use_mmap,
                                                         bool vocabulary_only,
                                                         const OpenHooks& hooks = {});

}  // namespace millrace
