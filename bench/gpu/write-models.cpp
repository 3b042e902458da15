// Small models of distinct weights, a prompt and what its logits are on the device, for whoever
// computes them anew: compare.py.

#include <fstream>
#include <string>

#include "model.h"

namespace millrace {
namespace {

// The tensors of a model as float32 one after another, and beside it a line for each: its name, as
// transformers has it, and its sizes.
class TensorFile {
 public:
  explicit TensorFile(const std::string& path)
      : values_(path + ".f32", std::ios::binary), names_(path + ".txt") {}

  void add(const std::string& name, const std::vector<int>& sizes,
           const std::vector<float>& values) {
    names_ << name;
    for (const int size : sizes) names_ << ' ' << size;
    names_ << '\n';
    values_.write(reinterpret_cast<const char*>(values.data()),
                  static_cast<std::streamsize>(values.size() * sizeof(float)));
  }
  void add(const std::string& name, const Weight& weight, const std::vector<uint8_t>& plain) {
    const auto width = static_cast<size_t>(weight.cols);
    std::vector<float> values(static_cast<size_t>(weight.rows) * width);
    const auto row_size = static_cast<size_t>(row_bytes(weight.dtype, weight.cols));
    for (size_t row = 0; row < static_cast<size_t>(weight.rows); ++row)
      decode_row(weight.dtype, plain.data() + row * row_size, weight.cols,
                 values.data() + row * width);
    add(name, {weight.rows, weight.cols}, values);
  }
  bool close() {
    values_.close();
    names_.close();
    return values_.good() && names_.good();
  }

 private:
  std::ofstream values_, names_;
};

class ModelWriter {
 public:
  ModelWriter(Job& job, const Shape& shape, const std::string& folder)
      : job_(job),
        shape_(shape),
        config_(config_of(shape)),
        arena_(job.device),
        make_(arena_),
        file_(folder + "/" + shape.name) {}

  // The prompt goes at once, its last tokens one by one.
  void write() {
    make();
    const int n = 40, alone = 4;
    const KvShape kv{shape_.layers, shape_.kv_heads, shape_.head_dim, 32, DType::f32};
    const Cache cache = make_cache(arena_, kv, 1, n);
    auto workspace = Workspace::create(config_, job_.device, n, n);
    must(workspace.status());
    Step step(cache, 1, 0, n, shape_.vocabulary);
    std::vector<float> logits;
    const auto run = [&](int first, int count) {
      std::vector<int32_t> outputs;
      for (int i = 0; i < count; ++i) outputs.push_back(i);
      const Span span{0, count, first, cache.pages.data()};
      const StepInput input{step.tokens.data() + first,
                            step.positions.data() + first,
                            count,
                            &span,
                            1,
                            outputs.data(),
                            count};
      must(forward(config_, weights_, job_.device, cache.view, input, **workspace));
      const auto part =
          arena_.read((*workspace)->logits,
                      static_cast<size_t>(count) * static_cast<size_t>(shape_.vocabulary));
      logits.insert(logits.end(), part.begin(), part.end());
    };
    run(0, n - alone);
    for (int i = n - alone; i < n; ++i) run(i, 1);
    file_.add("tokens", {n}, {step.tokens.begin(), step.tokens.end()});
    file_.add("logits", {n, shape_.vocabulary}, logits);
    if (!file_.close()) job_.report.fail(shape_.name, "could not be written");
  }

 private:
  Weight matrix(const std::string& name, int rows, int cols) {
    std::vector<uint8_t> plain;
    const Weight weight = make_.whole(shape_.weights, rows, cols, plain);
    file_.add(name, weight, plain);
    return weight;
  }
  const float* gains(const std::string& name, int n) {
    std::vector<float> values = normals(++seed_, static_cast<size_t>(n), 0.2f);
    for (float& value : values) value += 1;
    file_.add(name, {n}, values);
    return arena_.floats(values);
  }

  void make() {
    file_.add("config", {9},
              {static_cast<float>(shape_.layers), static_cast<float>(shape_.dim),
               static_cast<float>(shape_.hidden), static_cast<float>(shape_.heads),
               static_cast<float>(shape_.kv_heads), static_cast<float>(shape_.head_dim),
               static_cast<float>(shape_.vocabulary), shape_.norm_eps, shape_.rope_base});
    std::vector<uint8_t> plain;
    weights_.embedding =
        random_weight(shape_.weights, shape_.vocabulary, shape_.dim, plain, 999, shape_.vocabulary);
    weights_.embedding.data = arena_.bytes(plain.size(), plain.data());
    file_.add("model.embed_tokens.weight", weights_.embedding, plain);
    weights_.output_norm = gains("model.norm.weight", shape_.dim);
    weights_.head.set(matrix("lm_head.weight", shape_.vocabulary, shape_.dim));
    weights_.inv_freq = arena_.floats(config_.rope.inv_freq);
    weights_.layers = std::vector<Layer>(static_cast<size_t>(shape_.layers));
    for (int i = 0; i < shape_.layers; ++i)
      make(weights_.layers[static_cast<size_t>(i)], "model.layers." + std::to_string(i) + ".");
  }
  void make(Layer& layer, const std::string& in) {
    layer.attention_norm = gains(in + "input_layernorm.weight", shape_.dim);
    layer.ffn_norm = gains(in + "post_attention_layernorm.weight", shape_.dim);
    if (shape_.qk_norm) {
      layer.q_norm = gains(in + "self_attn.q_norm.weight", shape_.head_dim);
      layer.k_norm = gains(in + "self_attn.k_norm.weight", shape_.head_dim);
    }
    layer.wq.set(matrix(in + "self_attn.q_proj.weight", config_.q_dim(), shape_.dim));
    layer.wk.set(matrix(in + "self_attn.k_proj.weight", config_.kv_dim(), shape_.dim));
    layer.wv.set(matrix(in + "self_attn.v_proj.weight", config_.kv_dim(), shape_.dim));
    layer.wo.set(matrix(in + "self_attn.o_proj.weight", shape_.dim, config_.q_dim()));
    layer.gate.set(matrix(in + "mlp.gate_proj.weight", shape_.hidden, shape_.dim));
    layer.up.set(matrix(in + "mlp.up_proj.weight", shape_.hidden, shape_.dim));
    layer.down.set(matrix(in + "mlp.down_proj.weight", shape_.dim, shape_.hidden));
  }

  Job& job_;
  const Shape& shape_;
  const Config config_;
  Arena arena_;
  WeightMaker make_;
  TensorFile file_;
  Weights weights_;
  uint64_t seed_ = 0;
};

}  // namespace

void write_models(Job& job, const std::string& folder) {
  const auto bf16 = DType::bf16;
  const int dim = job.small ? 64 : 1024, layers = job.small ? 1 : 4;
  const Shape llama{"llama", "BF16", bf16, bf16, layers, dim, 3 * dim, 8, 2, dim / 8, 2000, false};
  const Shape qwen{"qwen3", "BF16", bf16, bf16, layers, dim,        3 * dim,
                   8,       4,      64,   2000, true,   k_qwen_eps, k_qwen_base};
  for (const Shape& shape : {llama, qwen}) ModelWriter(job, shape, folder).write();
}

}  // namespace millrace
