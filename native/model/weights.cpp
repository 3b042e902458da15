#include "model/weights.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/thread-pool.h"
#include "ops/memory.h"

namespace millrace {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// MILLRACE_PACKED=0: matrices stay in the file's memory, and each product packs what it reads.
bool keeps_packed() {
  const char* wanted = std::getenv("MILLRACE_PACKED");
  return !wanted || std::string_view(wanted) != "0";
}

// Reads tensors of one file for one device; keeps the first error, so that the list of tensors
// below stays a list.
class Loader {
  // The free end of a buffer.
  struct Room {
    uint8_t* begin = nullptr;
    size_t size_bytes = 0;
  };
  static constexpr size_t k_block_bytes = size_t{32} << 20;
  static constexpr size_t k_small_bytes = size_t{128} << 10;  // at most: a vector
  static constexpr size_t k_small_block_bytes = size_t{2} << 20;
  static constexpr size_t k_alignment = 64;  // as Device::alloc

 public:
  Loader(const ModelFile& file, Device& device) : file_(file), device_(device) {}

  void matrix(Matrix& out, const std::string& name, int rows, int cols) {
    const TensorEntry* entry = find(name, {cols, rows}, true);
    if (!entry) return;
    const Weight view = plain_view(*entry, rows, cols);
    const size_t packed_bytes = device_.ops().packed_bytes(view.dtype, rows, cols);
    if (packed_bytes == 0 || (device_.shares_host_memory() && !keeps_packed()))
      out.set(plain(name, view));
    else if (device_.shares_host_memory())
      pack_later(out, name, view, packed_bytes);
    else
      out.set(packed(name, view, packed_bytes));
  }

  // Rows of the embedding are read one by one, so it stays as the file has it.
  Weight table(const std::string& name, int rows, int cols) {
    const TensorEntry* entry = find(name, {cols, rows}, true);
    return entry ? plain(name, plain_view(*entry, rows, cols)) : Weight{};
  }

  // A vector of n floats, decoded; null when it is optional and absent.
  const float* vector(const std::string& name, int n, bool required) {
    const TensorEntry* entry = find(name, {n}, required);
    if (!entry) return nullptr;
    return static_cast<const float*>(placed(
        name, static_cast<size_t>(n) * sizeof(float),
        [&](void* out) { decode_row(entry->dtype, entry->data, n, static_cast<float*>(out)); }));
  }

  // A copy of floats that do not stand in the file.
  const float* copied(const std::string& name, const std::vector<float>& values) {
    const size_t size_bytes = values.size() * sizeof(float);
    if (!status_.ok() || values.empty()) return nullptr;
    return static_cast<const float*>(
        placed(name, size_bytes, [&](void* out) { std::memcpy(out, values.data(), size_bytes); }));
  }

  bool has(const std::string& name) const { return file_.find(name) != nullptr; }
  Status status() const { return status_; }
  size_t packed_bytes() const { return packed_bytes_; }
  std::vector<Buffer> take_buffers() { return std::move(buffers_); }
  std::vector<const Matrix*> take_unpacked() { return std::move(unpacked_); }

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
    return entry;
  }

  static Weight plain_view(const TensorEntry& entry, int rows, int cols) {
    const int64_t row_bytes = static_cast<int64_t>(entry.size_bytes) / rows;
    return {entry.dtype, Weight::Layout::plain, rows, cols, row_bytes, entry.data};
  }

  // The view itself where the device reads the file's memory.
  Weight plain(const std::string& name, const Weight& view) {
    if (device_.shares_host_memory()) return view;
    const size_t size_bytes = static_cast<size_t>(view.row_bytes) * static_cast<size_t>(view.rows);
    Weight copy = view;
    copy.data = alloc(size_bytes, name);
    if (!copy.data) return {};
    fail(device_.copy(const_cast<void*>(copy.data), view.data, size_bytes));
    packed_bytes_ += size_bytes;
    return copy;
  }

  void pack_later(Matrix& out, const std::string& name, const Weight& plain, size_t size_bytes) {
    void* room = alloc(size_bytes, name);
    if (!room) return;
    out.set(plain, device_.ops(), room, size_bytes);
    unpacked_.push_back(&out);
    packed_bytes_ += size_bytes;
  }

  // Now, for memory that only copies reach.
  Weight packed(const std::string& name, const Weight& plain, size_t size_bytes) {
    const Ops& ops = device_.ops();
    const int groups = (plain.rows + ops.pack_rows - 1) / ops.pack_rows;
    const void* data = placed(name, size_bytes, [&](void* out) {
      device_.queue().pool().parallel_for(groups, 4, [&](int begin, int end, int) {
        const int first = begin * ops.pack_rows;
        ops.pack(plain, out, first, std::min(end * ops.pack_rows, plain.rows) - first);
      });
    });
    if (!data) return {};
    packed_bytes_ += size_bytes;
    return {plain.dtype, Weight::Layout::packed, plain.rows, plain.cols, 0, data};
  }

  // Device memory with what `fill` writes: in place, or by way of the host's memory.
  template <class Fill>
  const void* placed(const std::string& name, size_t size_bytes, const Fill& fill) {
    void* data = alloc(size_bytes, name);
    if (!data) return nullptr;
    if (device_.shares_host_memory()) {
      fill(data);
      return data;
    }
    const auto host = host_memory(size_bytes);
    if (!host) {
      fail(error(ErrorCode::out_of_memory, "cannot allocate %zu bytes for %s on its way",
                 size_bytes, name.c_str()));
      return nullptr;
    }
    fill(host.get());
    fail(device_.copy(data, host.get(), size_bytes));
    return data;
  }

  // From a shared block, so that what is small lies in huge pages too. Vectors are written at once,
  // so they have blocks of their own: a page that holds one would be there for the sake of it.
  void* alloc(size_t size_bytes, const std::string& name) {
    size_bytes = (size_bytes + k_alignment - 1) / k_alignment * k_alignment;
    const bool is_small = size_bytes <= k_small_bytes;
    Room& room = rooms_[is_small ? 1 : 0];
    if (size_bytes > room.size_bytes) {
      const size_t block_bytes =
          std::max(size_bytes, is_small ? k_small_block_bytes : k_block_bytes);
      auto buffer = device_.alloc(block_bytes, name.c_str());
      if (!buffer.ok()) {
        fail(buffer.status());
        return nullptr;
      }
      buffers_.push_back(std::move(*buffer));
      room = {static_cast<uint8_t*>(buffers_.back().data()), block_bytes};
    }
    room.size_bytes -= size_bytes;
    return std::exchange(room.begin, room.begin + size_bytes);
  }

  void fail(Status status) {
    if (status_.ok()) status_ = std::move(status);
  }

  const ModelFile& file_;
  Device& device_;
  Status status_;
  std::vector<Buffer> buffers_;
  std::vector<const Matrix*> unpacked_;
  Room rooms_[2];
  size_t packed_bytes_ = 0;
};

void load_layer(Loader& loader, const Config& config, int index, Layer& layer) {
  const std::string prefix = "blk." + std::to_string(index) + ".";
  const auto matrix = [&](Matrix& out, const char* name, int rows, int cols) {
    loader.matrix(out, prefix + name + ".weight", rows, cols);
  };
  const auto norm = [&](const char* name, int n) {
    return loader.vector(prefix + name + ".weight", n, true);
  };
  const auto bias = [&](const char* name, int n) {
    return loader.vector(prefix + name + ".bias", n, false);
  };
  const int dim = config.dim, q_dim = config.q_dim(), kv_dim = config.kv_dim();
  layer.attention_norm = norm("attn_norm", dim);
  matrix(layer.wq, "attn_q", q_dim, dim);
  matrix(layer.wk, "attn_k", kv_dim, dim);
  matrix(layer.wv, "attn_v", kv_dim, dim);
  matrix(layer.wo, "attn_output", dim, q_dim);
  layer.bq = bias("attn_q", q_dim);
  layer.bk = bias("attn_k", kv_dim);
  layer.bv = bias("attn_v", kv_dim);
  layer.bo = bias("attn_output", dim);
  if (config.qk_norm) {
    layer.q_norm = norm("attn_q_norm", config.head_dim);
    layer.k_norm = norm("attn_k_norm", config.head_dim);
  }
  layer.ffn_norm = norm("ffn_norm", dim);
  matrix(layer.gate, "ffn_gate", config.hidden_dim, dim);
  matrix(layer.up, "ffn_up", config.hidden_dim, dim);
  matrix(layer.down, "ffn_down", dim, config.hidden_dim);
  layer.gate_bias = bias("ffn_gate", config.hidden_dim);
  layer.up_bias = bias("ffn_up", config.hidden_dim);
  layer.down_bias = bias("ffn_down", dim);
}

// A device takes about what the file holds of the tensors that load() asks for, a tied embedding
// twice: said before minutes of copying, not after.
Status fits(const ModelFile& file, const Config& config, Device& device) {
  if (device.shares_host_memory()) return {};
  size_t size_bytes = 0;
  for (const TensorEntry& entry : file.tensors()) {
    const bool is_embedding = entry.name.starts_with("token_embd.");
    if (is_embedding || entry.name.starts_with("blk.") || entry.name.starts_with("output"))
      size_bytes += entry.size_bytes * (is_embedding && config.tied ? 2 : 1);
  }
  const size_t free_bytes = device.info().free_bytes;
  if (size_bytes - size_bytes / 16 <= free_bytes) return {};
  TRY(device.finish());  // a lost device has nothing free either
  return error(ErrorCode::out_of_memory,
               "cannot allocate %zu bytes for the weights: %zu are free on %s", size_bytes,
               free_bytes, device.info().name.c_str());
}

}  // namespace

Result<std::shared_ptr<const Weights>> Weights::load(std::shared_ptr<const ModelFile> file,
                                                     const Config& config, Device& device) {
  TRY(fits(*file, config, device));
  Loader loader(*file, device);
  auto weights = std::make_shared<Weights>();
  weights->embedding = loader.table("token_embd.weight", config.vocab_size, config.dim);
  weights->output_norm = loader.vector("output_norm.weight", config.dim, true);
  const char* head = config.tied ? "token_embd.weight" : "output.weight";
  loader.matrix(weights->head, head, config.vocab_size, config.dim);
  weights->head_bias = loader.vector("output.bias", config.vocab_size, false);
  weights->inv_freq = loader.copied("the rotary frequencies", config.rope.inv_freq);
  weights->layers = std::vector<Layer>(static_cast<size_t>(config.n_layers));
  for (int i = 0; i < config.n_layers && loader.status().ok(); ++i)
    load_layer(loader, config, i, weights->layers[static_cast<size_t>(i)]);
  TRY(loader.status());
  TRY(device.finish());
  weights->file_ = std::move(file);
  weights->buffers_ = loader.take_buffers();
  weights->packed_bytes = loader.packed_bytes();
  weights->unpacked_ = loader.take_unpacked();
  if (!weights->unpacked_.empty())
    weights->packer_ = std::make_unique<Packer>(device.ops(), weights->unpacked_,
                                                [file = weights->file_] { file->release_pages(); });
  return std::shared_ptr<const Weights>(std::move(weights));
}

size_t Weights::bytes_to_pack() const {
  size_t size_bytes = 0;
  for (const Matrix* matrix : unpacked_) size_bytes += matrix->bytes_to_pack();
  return size_bytes;
}

}  // namespace millrace
