// Fuzz target of the JSON reader: any bytes end in a value or in bad-file.

#include <cstdint>
#include <cstdlib>

#include "base/json.h"

namespace {

using millrace::Json;

size_t count(const Json& json) {
  size_t n = 1;
  if (const auto* items = json.array())
    for (const Json& item : *items) n += count(item);
  if (const auto* members = json.object())
    for (const auto& [key, value] : *members) {
      if (json.find(key) != &value) std::abort();
      n += count(value);
    }
  return n;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto json = Json::parse({reinterpret_cast<const char*>(data), size});
  if (!json.ok() && json.status().code() != millrace::ErrorCode::bad_file) std::abort();
  if (json.ok() && count(*json) > size) std::abort();
  return 0;
}
