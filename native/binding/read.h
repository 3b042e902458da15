#pragma once
// JS object -> plain struct, one function per struct. lib/options.ts has validated and completed
// the values; these only refuse what would not fit, so that nothing crafted can do harm.
// Threads: JS thread only.

#include <napi.h>

#include <string>
#include <vector>

#include "engine/request.h"
#include "model/model.h"

namespace millrace {

Result<ModelOpenOptions> read_model_options(Napi::Object object);
Result<EngineOptions> read_engine_options(Napi::Object object);
Result<Request> read_request(Napi::Object object);

Result<std::vector<int32_t>> read_tokens(const char* name, Napi::Value value);  // an Int32Array
Result<std::string> read_bytes(const char* name, Napi::Value value);  // a string or Uint8Array
Result<DType> read_cache_type(Napi::Value value);                     // "f32", "f16", "q8_0"

}  // namespace millrace
