#pragma once
// The tensors of one model as one operator table reads them, in the memory of its device: packed
// copies, plain ones, or views of the file where the device shares the host's memory. There,
// matrices are packed after loading.
// Invariant: shapes agree with the Config; nothing points into memory this object does not keep
// alive. Threads: made by a job thread, then, apart from what Matrix does, immutable and shared by
// every engine with the same table.

#include <memory>
#include <vector>

#include "base/result.h"
#include "model/config.h"
#include "model/matrix.h"
#include "model/model-file.h"
#include "model/packer.h"
#include "ops/device.h"

namespace millrace {

struct Layer {
  const float* attention_norm = nullptr;  // [dim]
  Matrix wq, wk, wv, wo;
  const float* bq = nullptr;  // [q_dim] or null; likewise below
  const float* bk = nullptr;
  const float* bv = nullptr;
  const float* bo = nullptr;
  const float* q_norm = nullptr;  // [head_dim] or null
  const float* k_norm = nullptr;
  const float* ffn_norm = nullptr;  // [dim]
  Matrix gate, up, down;
  const float* gate_bias = nullptr;
  const float* up_bias = nullptr;
  const float* down_bias = nullptr;
};

class Weights {
 public:
  // Every tensor the configuration asks for, with the memory of what is still to be packed.
  static Result<std::shared_ptr<const Weights>> load(std::shared_ptr<const ModelFile> file,
                                                     const Config& config, Device& device);

  Weight embedding;                    // plain
  const float* output_norm = nullptr;  // [dim]
  Matrix head;                         // [vocab_size, dim]
  const float* head_bias = nullptr;
  const float* inv_freq = nullptr;  // [rotary / 2], of Config::rope
  std::vector<Layer> layers;
  size_t packed_bytes = 0;       // memory held beside the file, packed or still to be
  size_t bytes_to_pack() const;  // of those; memory that the system has still to supply
  // Of packing after loading, for a step that wants the whole machine; null where there is none.
  Packer::Rest rest() const { return packer_ ? packer_->rest() : nullptr; }

 private:
  std::shared_ptr<const ModelFile> file_;
  std::vector<Buffer> buffers_;
  std::vector<const Matrix*> unpacked_;  // when it was loaded
  std::unique_ptr<Packer> packer_;       // ends before the memory that it reads and writes
};

}  // namespace millrace
