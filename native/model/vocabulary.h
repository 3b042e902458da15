#pragma once
// The vocabulary in a GGUF file's metadata (tokenizer.ggml.*), checked.
// Threads: pure functions, any thread.

#include "base/result.h"
#include "model/model-file.h"
#include "text/vocabulary.h"

namespace millrace {

// The result's views point into the metadata's file.
Result<Vocabulary> read_vocabulary(const Metadata& metadata);

}  // namespace millrace
