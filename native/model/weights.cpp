#include "model/weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/thread-pool.h"

namespace millrace {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// Reads tensors of one file for one device; keeps the first error, so that the list of tensors
// below stays a list.
class Loader {
  static constexpr size_t k_block_bytes = size_t{32} << 20;

 public:
  Loader(const ModelFile& file, Device& device, const LoadHooks& hooks, int n_tensors)
      : file_(file), device_(device), hooks_(hooks), n_tensors_(n_tensors) {}

  Weight matrix(const std::string& name, int rows, int cols) {
    const TensorEntry* entry = find(name, {cols, rows}, true);
    if (!entry) return {};
    const Weight plain = plain_view(*entry, rows, cols);
    const size_t packed_bytes = device_.ops().packed_bytes(plain.dtype, rows, cols);
    return packed_bytes == 0 ? plain : packed(name, plain, packed_bytes);
  }

  // Rows of the embedding are read one by one, so it stays as the file has it.
  Weight table(const std::string& name, int rows, int cols) {
    const TensorEntry* entry = find(name, {cols, rows}, true);
    return entry ? plain_view(*entry, rows, cols) : Weight{};
  }

  // A vector of n floats, decoded; null when it is optional and absent.
  const float* vector(const std::string& name, int n, bool required) {
    const TensorEntry* entry = find(name, {n}, required);
    if (!entry) return nullptr;
    float* out = static_cast<float*>(alloc(static_cast<size_t>(n) * sizeof(float), name));
    if (out) decode_row(entry->dtype, entry->data, n, out);
    return out;
  }

  bool has(const std::string& name) const { return file_.find(name) != nullptr; }
  Status status() const { return status_; }
  size_t packed_bytes() const { return packed_bytes_; }
  std::vector<Buffer> take_buffers() { return std::move(buffers_); }

 private:
  const TensorEntry* find(const std::string& name, const std::vector<int64_t>& shape,
                          bool required) {
    if (!status_.ok()) return nullptr;
    const TensorEntry* entry = file_.find(name);
    if (!entry) {
      if (required)
        fail(error(ErrorCode::bad_file, "the model file has no tensor \"%s\"", name.c_str()));
      return nullptr;
    }
    if (entry->shape != shape) {
      fail(error(ErrorCode::bad_file, "Expected tensor \"%s\" to have shape %s but found %s",
                 name.c_str(), shape_text(shape).c_str(), shape_text(entry->shape).c_str()));
      return nullptr;
    }
    advance();
    return status_.ok() ? entry : nullptr;
  }

  static Weight plain_view(const TensorEntry& entry, int rows, int cols) {
    const int64_t row_bytes = static_cast<int64_t>(entry.size_bytes) / rows;
    return {entry.dtype, Weight::Layout::plain, rows, cols, row_bytes, entry.data};
  }

  Weight packed(const std::string& name, const Weight& plain, size_t size_bytes) {
    void* data = alloc(size_bytes, name);
    if (!data) return {};
    const Ops& ops = device_.ops();
    const int groups = (plain.rows + ops.pack_rows - 1) / ops.pack_rows;
    device_.queue().pool().parallel_for(groups, 4, [&](int begin, int end, int) {
      const int first = begin * ops.pack_rows;
      ops.pack(plain, data, first, std::min(end * ops.pack_rows, plain.rows) - first);
    });
    packed_bytes_ += size_bytes;
    return {plain.dtype, Weight::Layout::packed, plain.rows, plain.cols, 0, data};
  }

  // From a shared block, so that small tensors lie in huge pages too.
  void* alloc(size_t size_bytes, const std::string& name) {
    size_bytes = (size_bytes + 63) / 64 * 64;
    if (size_bytes > room_bytes_) {
      const size_t block_bytes = std::max(size_bytes, k_block_bytes);
      auto buffer = device_.alloc(block_bytes, name.c_str());
      if (!buffer.ok()) {
        fail(buffer.status());
        return nullptr;
      }
      buffers_.push_back(std::move(*buffer));
      room_ = static_cast<uint8_t*>(buffers_.back().data());
      room_bytes_ = block_bytes;
    }
    void* data = room_;
    room_ += size_bytes;
    room_bytes_ -= size_bytes;
    return data;
  }

  void advance() {
    ++n_seen_;
    if (hooks_.progress) hooks_.progress(std::min(1.0, static_cast<double>(n_seen_) / n_tensors_));
    if (hooks_.cancelled && hooks_.cancelled())
      fail(error(ErrorCode::aborted, "loading the weights was aborted"));
  }

  void fail(Status status) {
    if (status_.ok()) status_ = std::move(status);
  }

  const ModelFile& file_;
  Device& device_;
  const LoadHooks& hooks_;
  int n_tensors_;
  int n_seen_ = 0;
  Status status_;
  std::vector<Buffer> buffers_;
  uint8_t* room_ = nullptr;  // the free end of the last buffer
  size_t room_bytes_ = 0;
  size_t packed_bytes_ = 0;
};

Layer load_layer(Loader& loader, const Config& config, int index) {
  const std::string prefix = "blk." + std::to_string(index) + ".";
  const auto matrix = [&](const char* name, int rows, int cols) {
    return loader.matrix(prefix + name + ".weight", rows, cols);
  };
  const auto norm = [&](const char* name, int n) {
    return loader.vector(prefix + name + ".weight", n, true);
  };
  const auto bias = [&](const char* name, int n) {
    return loader.vector(prefix + name + ".bias", n, false);
  };
  const int dim = config.dim, q_dim = config.q_dim(), kv_dim = config.kv_dim();
  Layer layer;
  layer.attention_norm = norm("attn_norm", dim);
  layer.wq = matrix("attn_q", q_dim, dim);
  layer.wk = matrix("attn_k", kv_dim, dim);
  layer.wv = matrix("attn_v", kv_dim, dim);
  layer.wo = matrix("attn_output", dim, q_dim);
  layer.bq = bias("attn_q", q_dim);
  layer.bk = bias("attn_k", kv_dim);
  layer.bv = bias("attn_v", kv_dim);
  layer.bo = bias("attn_output", dim);
  if (config.qk_norm) {
    layer.q_norm = norm("attn_q_norm", config.head_dim);
    layer.k_norm = norm("attn_k_norm", config.head_dim);
  }
  layer.ffn_norm = norm("ffn_norm", dim);
  layer.gate = matrix("ffn_gate", config.hidden_dim, dim);
  layer.up = matrix("ffn_up", config.hidden_dim, dim);
  layer.down = matrix("ffn_down", dim, config.hidden_dim);
  layer.gate_bias = bias("ffn_gate", config.hidden_dim);
  layer.up_bias = bias("ffn_up", config.hidden_dim);
  layer.down_bias = bias("ffn_down", dim);
  return layer;
}

}  // namespace

Result<std::shared_ptr<const Weights>> Weights::load(std::shared_ptr<const ModelFile> file,
                                                     const Config& config, Device& device,
                                                     const LoadHooks& hooks) {
  Loader loader(*file, device, hooks, static_cast<int>(file->tensors().size()));
  auto weights = std::make_shared<Weights>();
  weights->embedding = loader.table("token_embd.weight", config.vocab_size, config.dim);
  weights->output_norm = loader.vector("output_norm.weight", config.dim, true);
  const char* head = config.tied ? "token_embd.weight" : "output.weight";
  weights->head = loader.matrix(head, config.vocab_size, config.dim);
  weights->head_bias = loader.vector("output.bias", config.vocab_size, false);
  for (int i = 0; i < config.n_layers && loader.status().ok(); ++i)
    weights->layers.push_back(load_layer(loader, config, i));
  TRY(loader.status());
  TRY(device.finish());
  weights->file_ = std::move(file);
  weights->buffers_ = loader.take_buffers();
  weights->packed_bytes = loader.packed_bytes();
  return std::shared_ptr<const Weights>(std::move(weights));
}

}  // namespace millrace
