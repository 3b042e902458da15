#pragma once
// A family of architectures: a name in the file and what the file does not say.
// Adding one that differs only in data is one row in registry.cpp; a family with its own keys or
// tensors gets its own file beside it.
// Threads: immutable tables.

#include <string>

#include "base/result.h"
#include "model/config.h"
#include "model/model-file.h"

namespace millrace {

struct Family {
  const char* name;    // general.architecture
  bool adjacent_rope;  // pairs (2i, 2i+1), as llama files are permuted for; else the split form
  bool qk_norm;
};

// The configuration a file describes, every number checked; unsupported names the known families.
Result<Config> configure(const ModelFile& file);

// The usual decoder's keys, under "<family>." in the metadata.
Result<Config> configure_decoder(const Family& family, const ModelFile& file);

}  // namespace millrace
