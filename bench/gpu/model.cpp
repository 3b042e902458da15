#include "model.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace millrace {

Config config_of(const Shape& shape) {
  Config config;
  config.architecture = shape.qk_norm ? "qwen3" : "llama";
  config.dim = shape.dim;
  config.hidden_dim = shape.hidden;
  config.n_layers = shape.layers;
  config.n_heads = shape.heads;
  config.n_kv_heads = shape.kv_heads;
  config.head_dim = shape.head_dim;
  config.vocab_size = shape.vocabulary;
  config.max_positions = 8192;
  config.norm_eps = shape.norm_eps;
  config.qk_norm = shape.qk_norm;
  config.attention_scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
  config.rope.rotary = shape.head_dim;
  for (int i = 0; i < shape.head_dim / 2; ++i)
    config.rope.inv_freq.push_back(std::pow(
        shape.rope_base, -2.0f * static_cast<float>(i) / static_cast<float>(shape.head_dim)));
  return config;
}

Weight WeightMaker::matrix(DType dtype, int rows, int cols) {
  const Ops& ops = arena_.device().ops();
  const size_t size_bytes = ops.packed_bytes(dtype, rows, cols);
  const int band = ops.pack_rows;
  std::vector<uint8_t> plain, packed(ops.packed_bytes(dtype, band, cols));
  ops.pack(random_weight(dtype, band, cols, plain, ++seed_), packed.data(), 0, band);
  const size_t n_bands = size_bytes / packed.size();
  std::vector<uint8_t> many;  // few copies of much
  const size_t at_once = std::min<size_t>(n_bands, 256);
  for (size_t i = 0; i < at_once; ++i) many.insert(many.end(), packed.begin(), packed.end());
  auto* data = static_cast<uint8_t*>(arena_.bytes(size_bytes));
  for (size_t at = 0; at < size_bytes; at += many.size())
    must(arena_.device().copy(data + at, many.data(), std::min(many.size(), size_bytes - at)));
  total_bytes_ += size_bytes;
  return {dtype, Weight::Layout::packed, rows, cols, 0, data};
}

Weight WeightMaker::whole(DType dtype, int rows, int cols, std::vector<uint8_t>& plain) {
  return arena_.weight(random_weight(dtype, rows, cols, plain, ++seed_, rows));
}

Weight WeightMaker::table(DType dtype, int rows, int cols) {
  std::vector<uint8_t> plain;
  Weight table = random_weight(dtype, rows, cols, plain);
  table.data = arena_.bytes(plain.size(), plain.data());
  return table;
}

namespace {

// As llama.cpp's Q4_K_M: the value and down matrices of half of the layers are Q6_K.
bool has_more_bits(const Shape& shape, int layer) {
  const int n = shape.layers;
  const bool is_mixed = shape.weights == DType::q4_k;
  return is_mixed && (layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2);
}

}  // namespace

void make_weights(WeightMaker& make, Arena& arena, const Shape& shape, const Config& config,
                  Weights& weights) {
  // Its type does not matter for speed: a row a token.
  weights.embedding = make.table(DType::q8_0, shape.vocabulary, shape.dim);
  weights.output_norm = make.ones(shape.dim);
  weights.head.set(make.matrix(shape.head, shape.vocabulary, shape.dim));
  weights.inv_freq = arena.floats(config.rope.inv_freq);
  weights.layers = std::vector<Layer>(static_cast<size_t>(shape.layers));
  for (int i = 0; i < shape.layers; ++i) {
    Layer& layer = weights.layers[static_cast<size_t>(i)];
    const DType finer = has_more_bits(shape, i) ? DType::q6_k : shape.weights;
    layer.attention_norm = make.ones(shape.dim);
    layer.ffn_norm = make.ones(shape.dim);
    if (shape.qk_norm) layer.q_norm = layer.k_norm = make.ones(shape.head_dim);
    layer.wq.set(make.matrix(shape.weights, config.q_dim(), shape.dim));
    layer.wk.set(make.matrix(shape.weights, config.kv_dim(), shape.dim));
    layer.wv.set(make.matrix(finer, config.kv_dim(), shape.dim));
    layer.wo.set(make.matrix(shape.weights, shape.dim, config.q_dim()));
    layer.gate.set(make.matrix(shape.weights, shape.hidden, shape.dim));
    layer.up.set(make.matrix(shape.weights, shape.hidden, shape.dim));
    layer.down.set(make.matrix(finer, shape.dim, shape.hidden));
  }
}

Step::Step(const Cache& cache, int batch, int context, int rows, int vocabulary) {
  for (int i = 0; i < batch; ++i) {
    spans.push_back({i * rows, rows, context, cache.pages.data() + i * cache.pages_each});
    for (int row = 0; row < rows; ++row) {
      tokens.push_back((i * 7919 + row * 104729) % vocabulary);
      positions.push_back(context + row);
    }
    outputs.push_back((i + 1) * rows - 1);
  }
}

StepInput Step::input() const {
  return {tokens.data(),
          positions.data(),
          static_cast<int>(tokens.size()),
          spans.data(),
          static_cast<int>(spans.size()),
          outputs.data(),
          static_cast<int>(outputs.size())};
}

StepInput Step::input(int n) const {
  StepInput input = this->input();
  input.n = input.n_spans = input.n_outputs = n;
  return input;
}

Drawing::Drawing(Device& device, int batch, int width) : device_(device) {
  auto sampler = Sampler::create(device, batch, width);
  must(sampler.status());
  sampler_ = std::move(*sampler);
}

StepInput Step::input_after(const Drawing& drawing) const {
  StepInput input = this->input();
  input.drawn = drawing.drawn();
  input.n_drawn = input.n_outputs;
  return input;
}

void Step::advance() {
  for (size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = ~static_cast<int32_t>(i);
    ++positions[i];
    ++spans[i].first_position;
  }
}

void Drawing::ask(float* logits, int n) {
  wanted_.assign(static_cast<size_t>(n), {&sampling_, nullptr, ++position_});
  sampler_->ask(device_, logits, wanted_);
  ++on_way_;
}

const std::vector<Draw>& Drawing::read() {
  must(sampler_->read(device_, draws_));
  --on_way_;
  for (const Draw& draw : draws_) must(draw.status);
  return draws_;
}

const std::vector<Draw>& Drawing::draw(float* logits, int n) {
  ask(logits, n);
  return read();
}

uint32_t sum_of(const std::vector<float>& logits) {
  uint32_t sum = 0;
  for (const float logit : logits) sum = sum * 31 + std::bit_cast<uint32_t>(logit);
  return sum;
}

}  // namespace millrace
