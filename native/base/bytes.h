#pragma once
// Bytes as files have them: checked size arithmetic, alignment, unaligned little-endian loads.
// Threads: pure functions.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace millrace {

using Bytes = std::span<const std::byte>;

// Nothing when the sum or product does not fit.
constexpr std::optional<uint64_t> checked_add(uint64_t a, uint64_t b) {
  if (a > std::numeric_limits<uint64_t>::max() - b) return std::nullopt;
  return a + b;
}
constexpr std::optional<uint64_t> checked_mul(uint64_t a, uint64_t b) {
  if (b != 0 && a > std::numeric_limits<uint64_t>::max() / b) return std::nullopt;
  return a * b;
}

constexpr bool is_power_of_two(uint64_t value) { return value != 0 && (value & (value - 1)) == 0; }

// alignment is a power of two; nothing when the result does not fit.
constexpr std::optional<uint64_t> align_up(uint64_t value, uint64_t alignment) {
  const auto sum = checked_add(value, alignment - 1);
  if (!sum) return std::nullopt;
  return *sum & ~(alignment - 1);
}

// A number at any address; the hosts we build for are little-endian.
template <class T>
T load(const void* address) {
  static_assert(std::is_trivially_copyable_v<T>);
  T value;
  std::memcpy(&value, address, sizeof value);
  return value;
}

inline std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Takes numbers and pieces from the front of a span; refuses what is not there.
class ByteReader {
 public:
  explicit ByteReader(Bytes bytes) : bytes_(bytes) {}

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return bytes_.size() - position_; }

  template <class T>
  std::optional<T> take() {
    if (remaining() < sizeof(T)) return std::nullopt;
    const T value = load<T>(bytes_.data() + position_);
    position_ += sizeof(T);
    return value;
  }

  std::optional<Bytes> take_bytes(uint64_t n) {
    if (remaining() < n) return std::nullopt;
    const Bytes piece = bytes_.subspan(position_, n);
    position_ += n;
    return piece;
  }

 private:
  Bytes bytes_;
  size_t position_ = 0;
};

}  // namespace millrace
