#include "model/forward.h"

#include <algorithm>
#include <utility>

#include "base/bytes.h"

namespace millrace {
namespace {

// Floats of every activation buffer for `rows` rows, each rounded up to a cache line.
struct Sizes {
  size_t x, q, kv, hidden, logits;
  Sizes(const Config& config, int rows, int outputs) {
    const auto lines = [](size_t floats) { return (floats + 15) / 16 * 16; };
    const auto n = static_cast<size_t>(rows);
    x = lines(n * static_cast<size_t>(config.dim));
    q = lines(n * static_cast<size_t>(config.q_dim()));
    kv = lines(n * static_cast<size_t>(config.kv_dim()));
    hidden = lines(n * static_cast<size_t>(config.hidden_dim));
    logits = lines(static_cast<size_t>(outputs) * static_cast<size_t>(config.vocab_size));
  }
  size_t total() const { return 3 * x + 2 * q + 2 * kv + 2 * hidden + logits; }
};

// The residual stream and the buffers beside it; narrowed to the wanted rows in the last layer.
struct Stream {
  float* x;
  float* normed;
  float* attended;
  float* spare;  // [rows, q_dim], free between attention and the next layer
  int n;
};

// What every part of a step sees.
struct Pass {
  const Config& config;
  Device& device;
  const float* inv_freq;
  const StepInput& step;
  Workspace& w;
  Stream s;
};

// Many steps without prompts follow each other, so the first packs what it meets. The answer to a
// prompt is waited for, so the prompt is multiplied by what is there, and packing rests.
Weight form_for(const Pass& pass, const Matrix& matrix) {
  if (pass.step.only_continues()) matrix.pack_rest(pass.device.ops(), pass.device.queue().pool());
  return matrix.now();
}

void attend(const Pass& pass, const Layer& layer, const AttentionArgs& base, bool wanted) {
  const auto& [config, device, inv_freq, step, w, s] = pass;
  const Ops& ops = device.ops();
  Queue& queue = device.queue();
  const int head_dim = config.head_dim;
  ops.matmul(queue, {s.normed,
                     config.dim,
                     s.n,
                     3,
                     {{form_for(pass, layer.wq), layer.bq, w.q, 0},
                      {form_for(pass, layer.wk), layer.bk, w.k, 0},
                      {form_for(pass, layer.wv), layer.bv, w.v, 0}}});
  if (layer.q_norm)
    ops.norm(queue,
             {w.q, nullptr, layer.q_norm, w.q, s.n * config.n_heads, head_dim, config.norm_eps});
  if (layer.k_norm)
    ops.norm(queue,
             {w.k, nullptr, layer.k_norm, w.k, s.n * config.n_kv_heads, head_dim, config.norm_eps});
  const Rope& rope = config.rope;
  RopeArgs turn{w.q,           config.q_dim(), s.n,      config.n_heads, head_dim, rope.rotary,
                rope.adjacent, step.positions, inv_freq, rope.magnitude};
  ops.rope(queue, turn);
  turn.x = w.k;
  turn.x_stride = config.kv_dim();
  turn.heads = config.n_kv_heads;
  ops.rope(queue, turn);
  ops.store(queue, {base.cache, base.layer, w.k, w.v, config.kv_dim(), config.kv_dim(), step.spans,
                    step.n_spans});
  if (wanted) ops.attention(queue, base);
}

// Keeps only the rows whose logits are wanted. Rows are independent, so no result changes.
void narrow(Pass& pass) {
  auto& [config, device, inv_freq, step, w, s] = pass;
  if (step.n_outputs == s.n) return;
  const Ops& ops = device.ops();
  Queue& queue = device.queue();
  ops.gather(queue, {s.x, step.output_rows, step.n_outputs, config.dim, s.normed});
  ops.gather(queue, {s.attended, step.output_rows, step.n_outputs, config.q_dim(), s.spare});
  std::swap(s.x, s.normed);
  std::swap(s.attended, s.spare);
  s.n = step.n_outputs;
}

void feed_forward(const Pass& pass, const Layer& layer) {
  const auto& [config, device, inv_freq, step, w, s] = pass;
  const Ops& ops = device.ops();
  Queue& queue = device.queue();
  ops.matmul(
      queue,
      {s.attended, config.q_dim(), s.n, 1, {{form_for(pass, layer.wo), layer.bo, w.delta, 0}}});
  ops.norm(queue, {s.x, w.delta, layer.ffn_norm, s.normed, s.n, config.dim, config.norm_eps});
  ops.matmul(queue, {s.normed,
                     config.dim,
                     s.n,
                     2,
                     {{form_for(pass, layer.gate), layer.gate_bias, w.gate, 0},
                      {form_for(pass, layer.up), layer.up_bias, w.up, 0}}});
  ops.gate(queue, {w.gate, w.up, w.gate, static_cast<int64_t>(s.n) * config.hidden_dim, config.act,
                   layer.down.now().dtype});
  ops.matmul(queue, {w.gate,
                     config.hidden_dim,
                     s.n,
                     1,
                     {{form_for(pass, layer.down), layer.down_bias, w.delta, 0}}});
}

// Adds rows of no sequence, of which nothing is stored and whose logits nobody reads.
StepInput filled_up(const StepInput& step, const Device& device, Workspace& w) {
  StepInput filled = step;
  filled.n = std::min(device.rows_for(step.n), w.max_rows);
  filled.n_outputs = std::min(device.rows_for(step.n_outputs), w.max_outputs);
  if (filled.n == step.n && filled.n_outputs == step.n_outputs) return step;
  const auto fill = [](std::vector<int32_t>& to, const int32_t* from, int n, int n_filled) {
    to.assign(from, from + n);
    to.resize(static_cast<size_t>(n_filled), 0);
    return to.data();
  };
  filled.tokens = fill(w.tokens, step.tokens, step.n, filled.n);
  filled.positions = fill(w.positions, step.positions, step.n, filled.n);
  filled.output_rows = fill(w.output_rows, step.output_rows, step.n_outputs, filled.n_outputs);
  return filled;
}

}  // namespace

size_t Workspace::size_bytes(const Config& config, int max_rows, int max_outputs) {
  return Sizes(config, max_rows, max_outputs).total() * sizeof(float);
}

Result<std::unique_ptr<Workspace>> Workspace::create(const Config& config, Device& device,
                                                     int max_rows, int max_outputs) {
  const Sizes sizes(config, max_rows, max_outputs);
  auto buffer = device.alloc(sizes.total() * sizeof(float), "the activations of a step");
  TRY(buffer);
  auto workspace = std::make_unique<Workspace>();
  auto* next = static_cast<float*>(buffer->data());
  const auto take = [&next](size_t floats) { return std::exchange(next, next + floats); };
  workspace->x = take(sizes.x);
  workspace->normed = take(sizes.x);
  workspace->delta = take(sizes.x);
  workspace->q = take(sizes.q);
  workspace->attended = take(sizes.q);
  workspace->k = take(sizes.kv);
  workspace->v = take(sizes.kv);
  workspace->gate = take(sizes.hidden);
  workspace->up = take(sizes.hidden);
  workspace->logits = take(sizes.logits);
  workspace->max_rows = max_rows;
  workspace->max_outputs = max_outputs;
  workspace->buffer_ = std::move(*buffer);
  return workspace;
}

Status forward(const Config& config, const Weights& weights, Device& device, KvCacheView cache,
               const StepInput& input, Workspace& workspace) {
  CHECK(input.n > 0 && input.n <= workspace.max_rows);
  CHECK(input.n_outputs >= 0 && input.n_outputs <= workspace.max_outputs);
  const Ops& ops = device.ops();
  Queue& queue = device.queue();
  Workspace& w = workspace;
  const bool continues = input.only_continues();
  const StepInput step = continues ? filled_up(input, device, w) : input;
  const Packer::Rest rest = continues ? nullptr : weights.rest();
  Pass pass{config, device, weights.inv_freq, step, w, {w.x, w.normed, w.attended, w.q, step.n}};
  Stream& s = pass.s;
  ops.embed(queue, {weights.embedding, step.tokens, s.n, config.embed_scale, s.x, step.drawn,
                    step.n_drawn});
  for (int i = 0; i < config.n_layers; ++i) {
    const Layer& layer = weights.layers[static_cast<size_t>(i)];
    const bool last = i + 1 == config.n_layers;
    ops.norm(queue, {s.x, i == 0 ? nullptr : w.delta, layer.attention_norm, s.normed, s.n,
                     config.dim, config.norm_eps});
    const bool is_whole = !last || step.n_outputs == s.n;  // see narrow()
    const AttentionArgs attention{cache,
                                  i,
                                  w.q,
                                  config.q_dim(),
                                  s.attended,
                                  config.q_dim(),
                                  config.n_heads,
                                  config.attention_scale,
                                  0,
                                  0.0f,
                                  step.spans,
                                  step.n_spans,
                                  is_whole ? layer.wo.now().dtype : DType::f32,
                                  s.n};
    const bool wanted = !last || step.n_outputs > 0;
    attend(pass, layer, attention, wanted);
    if (!wanted) return {};
    if (last) narrow(pass);
    feed_forward(pass, layer);
  }
  ops.norm(queue, {s.x, w.delta, weights.output_norm, s.normed, s.n, config.dim, config.norm_eps});
  ops.matmul(queue, {s.normed,
                     config.dim,
                     s.n,
                     1,
                     {{form_for(pass, weights.head), weights.head_bias, w.logits, 0}}});
  return {};
}

}  // namespace millrace
