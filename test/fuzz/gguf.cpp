// Fuzz target of the GGUF reader: whatever the bytes are, parsing ends in a result or a coded
// error, and everything a result points to lies within the bytes.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "model/gguf.h"

namespace {

using namespace millrace;

void require(bool condition) {
  if (!condition) std::abort();
}

uint64_t sum_of(std::string_view text) {
  uint64_t sum = 0;
  for (const char byte : text) sum += static_cast<unsigned char>(byte);
  return sum;
}

// Every getter on every key, so that each conversion sees each type.
void read_metadata(const Metadata& metadata) {
  uint64_t sum = 0;
  for (const auto& [key, value] : metadata.entries()) {
    require(metadata.find(key) == &value);
    sum += sum_of(key) + static_cast<uint64_t>(metadata.integer_or(key, 1));
    sum += metadata.number(key).ok() + metadata.boolean_or(key, false);
    if (const auto text = metadata.string(key); text.ok()) sum += sum_of(*text);
    if (const auto numbers = metadata.numbers(key); numbers.ok()) sum += numbers->size();
    if (const auto integers = metadata.integers(key); integers.ok()) sum += integers->size();
    if (const auto strings = metadata.strings(key); strings.ok())
      for (const auto text : *strings) sum += sum_of(text);
  }
  [[maybe_unused]] static volatile uint64_t sink;
  sink = sum;
}

void read_tensors(const std::vector<TensorEntry>& tensors, Bytes bytes) {
  for (const TensorEntry& tensor : tensors) {
    if (!tensor.data) continue;
    require(tensor.data >= bytes.data() && tensor.size_bytes <= bytes.size());
    require(tensor.data + tensor.size_bytes <= bytes.data() + bytes.size());
    require(row_bytes(tensor.dtype, tensor.values()) == static_cast<int64_t>(tensor.size_bytes));
    std::vector<float> row(static_cast<size_t>(tensor.shape[0]));
    decode_row(tensor.dtype, tensor.data, tensor.shape[0], row.data());
  }
}

void check(const Result<GgufPart>& part, Bytes bytes) {
  if (!part.ok()) {
    require(part.status().code() == ErrorCode::bad_file ||
            part.status().code() == ErrorCode::unsupported);
    require(!part.status().message().empty() && part.status().message().size() < 1000);
    return;
  }
  read_metadata(part->metadata);
  read_tensors(part->tensors, bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Bytes bytes{reinterpret_cast<const std::byte*>(data), size};
  const bool vocabulary_only = size % 4 == 0;
  check(parse_gguf(bytes, vocabulary_only), bytes);
  return 0;
}
