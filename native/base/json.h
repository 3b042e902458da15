#pragma once
// A strict reader of JSON (RFC 8259) for the small files that come with models.
// Invariant: text is valid UTF-8, keys of an object differ, nesting is at most k_json_depth.
// Threads: plain values.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace {

inline constexpr int k_json_depth = 64;

class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::map<std::string, Json, std::less<>>;

  // bad-file with the line and column of the first mistake.
  static Result<Json> parse(std::string_view text);

  void set(bool value);  // a new Json is null
  void set(double value);
  void set(std::string value);
  void set(Array value);
  void set(Object value);

  bool is_null() const { return type_ == Type::null; }
  // Null when the value is of another type.
  const bool* boolean() const { return type_ == Type::boolean ? &boolean_ : nullptr; }
  const double* number() const { return type_ == Type::number ? &number_ : nullptr; }
  const std::string* string() const { return type_ == Type::string ? &string_ : nullptr; }
  const Array* array() const { return type_ == Type::array ? &array_ : nullptr; }
  const Object* object() const { return type_ == Type::object ? &object_ : nullptr; }
  // The member of an object; null when this is no object or has no such key.
  const Json* find(std::string_view key) const;

 private:
  enum class Type : uint8_t { null, boolean, number, string, array, object };
  Type type_ = Type::null;
  bool boolean_ = false;
  double number_ = 0;
  std::string string_;
  Array array_;
  Object object_;
};

}  // namespace millrace
