#pragma once
// The GGUF reader, versions 2 and 3, one file or split into parts.
// Invariant: nothing in the file is trusted; what parse_gguf returns is consistent and lies within
// the bytes it was given. The memory it takes is a small multiple of the file's header.
// Threads: pure functions; the resulting file is immutable.

#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/file-map.h"
#include "base/result.h"
#include "model/model-file.h"

namespace millrace {

struct GgufPart {
  Metadata metadata;
  std::vector<TensorEntry> tensors;
};

// One file's bytes, which the caller keeps while the result lives. With vocabulary_only, tensors of
// unknown types are passed over and no tensor gets data.
Result<GgufPart> parse_gguf(Bytes bytes, bool vocabulary_only);

// The mapped file at `path` and, where it is one part of a split model, all other parts.
Result<std::shared_ptr<const ModelFile>> open_gguf(const std::string& path,
                                                   std::shared_ptr<const FileMap> file,
                                                   bool vocabulary_only, const OpenHooks& hooks);

// How many files open_gguf and its caller read for this one, by its name: 1, or for a part of a
// split model one more than it has parts.
int files_to_read(const std::string& path);

}  // namespace millrace
