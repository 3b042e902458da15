// Whole models with random weights, made on the device from a shape: steps of decoding at a context
// of 1,024 tokens, and prefill, through forward() as the engine calls it. A step ends as one of the
// engine does, with a token drawn for each row; `forward_ms` leaves that out. And check_steps: that
// steps which go forward give the same bits with graphs as without.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "engine/remote-sampler.h"
#include "job.h"
#include "model/forward.h"

namespace millrace {
namespace {

struct Shape {
  const char* name;
  const char* mix;
  DType weights, head;
  int layers, dim, hidden, heads, kv_heads, head_dim, vocabulary;
  bool qk_norm;
};

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
  config.norm_eps = 1e-5f;
  config.qk_norm = shape.qk_norm;
  config.attention_scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
  config.rope.rotary = shape.head_dim;
  for (int i = 0; i < shape.head_dim / 2; ++i)
    config.rope.inv_freq.push_back(
        std::pow(5e5f, -2.0f * static_cast<float>(i) / static_cast<float>(shape.head_dim)));
  return config;
}

// One band of rows is packed and copied to all of its places: the values repeat, the memory does
// not.
class WeightMaker {
 public:
  explicit WeightMaker(Arena& arena) : arena_(arena) {}

  Weight matrix(DType dtype, int rows, int cols) {
    const Ops& ops = arena_.device().ops();
    const size_t size_bytes = ops.packed_bytes(dtype, rows, cols);
    const int band = ops.pack_rows;
    std::vector<uint8_t> plain, packed(ops.packed_bytes(dtype, band, cols));
    ops.pack(random_weight(dtype, band, cols, plain), packed.data(), 0, band);
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
  Weight table(DType dtype, int rows, int cols) {
    std::vector<uint8_t> plain;
    Weight table = random_weight(dtype, rows, cols, plain);
    table.data = arena_.bytes(plain.size(), plain.data());
    return table;
  }
  const float* ones(int n) { return arena_.floats(std::vector<float>(static_cast<size_t>(n), 1)); }
  size_t total_bytes() const { return total_bytes_; }

 private:
  Arena& arena_;
  size_t total_bytes_ = 0;
};

void make_weights(WeightMaker& make, Arena& arena, const Shape& shape, const Config& config,
                  Weights& weights) {
  // Its type does not matter for speed: a row a token.
  weights.embedding = make.table(DType::q8_0, shape.vocabulary, shape.dim);
  weights.output_norm = make.ones(shape.dim);
  weights.head.set(make.matrix(shape.head, shape.vocabulary, shape.dim));
  weights.inv_freq = arena.floats(config.rope.inv_freq);
  weights.layers = std::vector<Layer>(static_cast<size_t>(shape.layers));
  for (Layer& layer : weights.layers) {
    layer.attention_norm = make.ones(shape.dim);
    layer.ffn_norm = make.ones(shape.dim);
    if (shape.qk_norm) layer.q_norm = layer.k_norm = make.ones(shape.head_dim);
    layer.wq.set(make.matrix(shape.weights, config.q_dim(), shape.dim));
    layer.wk.set(make.matrix(shape.weights, config.kv_dim(), shape.dim));
    layer.wv.set(make.matrix(shape.weights, config.kv_dim(), shape.dim));
    layer.wo.set(make.matrix(shape.weights, shape.dim, config.q_dim()));
    layer.gate.set(make.matrix(shape.weights, shape.hidden, shape.dim));
    layer.up.set(make.matrix(shape.weights, shape.hidden, shape.dim));
    layer.down.set(make.matrix(shape.weights, shape.dim, shape.hidden));
  }
}

// A step that repeats: every sequence has `rows` new tokens after `context`, and one logit row.
struct Step {
  std::vector<int32_t> tokens, positions, outputs;
  std::vector<Span> spans;

  Step(const Cache& cache, int batch, int context, int rows, int vocabulary) {
    for (int i = 0; i < batch; ++i) {
      spans.push_back({i * rows, rows, context, cache.pages.data() + i * cache.pages_each});
      for (int row = 0; row < rows; ++row) {
        tokens.push_back((i * 7919 + row * 104729) % vocabulary);
        positions.push_back(context + row);
      }
      outputs.push_back((i + 1) * rows - 1);
    }
  }
  StepInput input() const {
    return {tokens.data(),
            positions.data(),
            static_cast<int>(tokens.size()),
            spans.data(),
            static_cast<int>(spans.size()),
            outputs.data(),
            static_cast<int>(outputs.size())};
  }
  // Of the first n sequences, where each has one row.
  StepInput input(int n) const {
    StepInput input = this->input();
    input.n = input.n_spans = input.n_outputs = n;
    return input;
  }
};

// Draws a token for each row of logits, at temperature 1 from all of the vocabulary.
class Drawing {
 public:
  Drawing(Device& device, int batch, int width) : device_(device) {
    auto sampler = RemoteSampler::create(device, batch, width);
    must(sampler.status());
    sampler_ = std::move(*sampler);
  }
  // Waits for the device.
  const std::vector<Draw>& draw(float* logits, int n) {
    wanted_.assign(static_cast<size_t>(n), {&sampling_, nullptr, ++position_});
    must(sampler_->draw(device_, logits, wanted_, draws_));
    for (const Draw& draw : draws_) must(draw.status);
    return draws_;
  }

 private:
  Device& device_;
  const Sampling sampling_;
  std::unique_ptr<RemoteSampler> sampler_;
  std::vector<Wanted> wanted_;
  uint64_t position_ = 0;
  std::vector<Draw> draws_;
};

struct Bench {
  Job& job;
  const Shape& shape;
  const Config& config;
  const Weights& weights;
  size_t weight_bytes;

  void run(const char* what, int batch, int before, int rows) {
    Device& device = job.device;
    Arena arena(device);
    const KvShape kv{shape.layers, shape.kv_heads, shape.head_dim, 32, DType::f16};
    const Cache cache = make_cache(arena, kv, batch, before + rows);
    constexpr int k_filled_at_once = 512;
    auto workspace =
        Workspace::create(config, device, std::max(batch * rows, k_filled_at_once), batch);
    must(workspace.status());
    fill(cache, batch, before, **workspace);
    const Step step(cache, batch, before, rows, shape.vocabulary);
    Drawing drawing(device, batch, shape.vocabulary);
    const auto forward_once = [&] {
      must(forward(config, weights, device, cache.view, step.input(), **workspace));
      must(device.finish());
    };
    const std::string name = std::string(what) + " " + shape.name + " " + shape.mix + " " +
                             std::to_string(batch) + " @ " + std::to_string(before) + " + " +
                             std::to_string(rows);
    // Kernels started one by one at first, as a graph at last.
    const auto logits = [&] {
      forward_once();
      return arena.read((*workspace)->logits,
                        step.outputs.size() * static_cast<size_t>(shape.vocabulary));
    };
    const std::vector<float> first = logits();
    for (int i = 0; i < 2; ++i) logits();
    const std::vector<float> again = logits();
    if (std::memcmp(first.data(), again.data(), first.size() * sizeof(float)) != 0)
      job.report.fail(name, "the same step gave other logits when it came again");
    const double forward_s = seconds_of(device, forward_once);
    const double step_s = seconds_of(device, [&] {
      must(forward(config, weights, device, cache.view, step.input(), **workspace));
      drawing.draw((*workspace)->logits, batch);
    });
    const double tokens = static_cast<double>(batch) * rows;
    const double cache_bytes = static_cast<double>(device.ops().kv_page_bytes(kv)) /
                               kv.page_tokens * (before + rows) * batch;
    job.report.add(name,
                   {{"tokens_s", tokens / step_s},
                    {"step_ms", 1e3 * step_s},
                    {"forward_ms", 1e3 * forward_s},
                    {"GB_s", (static_cast<double>(weight_bytes) + cache_bytes) / forward_s / 1e9}});
  }

  // Real keys and values before the step: zeros would be read faster.
  void fill(const Cache& cache, int batch, int before, Workspace& workspace) {
    const int most = workspace.max_rows;
    for (int i = 0; i < batch; ++i)
      for (int at = 0; at < before; at += most) {
        const int rows = std::min(most, before - at);
        Step step(cache, 1, at, rows, shape.vocabulary);
        step.spans[0].pages = cache.pages.data() + i * cache.pages_each;
        StepInput input = step.input();
        input.n_outputs = 0;
        must(forward(config, weights, job.device, cache.view, input, workspace));
        must(job.device.finish());
      }
  }
};

void time_model(Job& job, const Shape& shape, const std::vector<int>& batches, int context,
                int prompts) {
  Arena arena(job.device);
  WeightMaker make(arena);
  const Config config = config_of(shape);
  Weights weights;
  make_weights(make, arena, shape, config, weights);
  Bench bench{job, shape, config, weights, make.total_bytes()};
  for (const int batch : batches) bench.run("decode", batch, context, 1);
  bench.run("prefill", 1, 0, context);
  if (prompts > 1) bench.run("prefill", prompts, 0, context);
}

// What each step of some sequences drew and its logits added up to, bit for bit. Each goes on with
// its own tokens, past the ends of pages and of attention's ranges; from step to step one fewer
// takes part, down to `fewest`.
struct Trace {
  std::vector<int32_t> tokens;
  std::vector<uint32_t> sums;
  uint64_t graph_steps;
};

Trace run_forward(Device& device, const Shape& shape, int batch, int fewest, int first,
                  int n_steps) {
  Arena arena(device);
  WeightMaker make(arena);
  const Config config = config_of(shape);
  Weights weights;
  make_weights(make, arena, shape, config, weights);
  const KvShape kv{shape.layers, shape.kv_heads, shape.head_dim, 32, DType::f16};
  const Cache cache = make_cache(arena, kv, batch, first + n_steps);
  auto workspace = Workspace::create(config, device, batch, batch);
  must(workspace.status());
  Drawing drawing(device, batch, shape.vocabulary);
  const uint64_t before = device.info().graph_steps;
  Trace trace{};
  Step step(cache, batch, first, 1, shape.vocabulary);
  for (int i = 0; i < n_steps; ++i) {
    const int n = batch - i % (batch - fewest + 1);
    must(forward(config, weights, device, cache.view, step.input(n), **workspace));
    const auto& drawn = drawing.draw((*workspace)->logits, n);
    uint32_t sum = 0;
    for (const float logit : arena.read(
             (*workspace)->logits, static_cast<size_t>(n) * static_cast<size_t>(shape.vocabulary)))
      sum = sum * 31 + std::bit_cast<uint32_t>(logit);
    trace.sums.push_back(sum);
    for (int row = 0; row < n; ++row) {
      const auto at = static_cast<size_t>(row);
      trace.tokens.push_back(drawn[at].token);
      step.tokens[at] = drawn[at].token;
      ++step.positions[at];
      ++step.spans[at].first_position;
    }
  }
  trace.graph_steps = device.info().graph_steps - before;
  return trace;
}

bool graphs_are_off() {
  const char* wanted = std::getenv("MILLRACE_CUDA_GRAPHS");
  return wanted && std::string(wanted) == "0";
}

}  // namespace

// Steps go forward with graphs, whose parameters change from step to step, and without.
void check_steps(Job& job) {
  const Shape whole{"steps", "q8_0", DType::q8_0, DType::q6_k, 2, 256, 512, 4, 2, 64, 1000, true};
  const Shape small{"steps", "q8_0", DType::q8_0, DType::q6_k, 1, 256, 256, 4, 2, 64, 300, true};
  const int first = 124, n_steps = job.small ? 12 : 300;
  const auto plain = job.open_without_graphs();
  const auto check = [&](const char* name, const Shape& shape, int batch, int fewest) {
    const Trace with = run_forward(job.device, shape, batch, fewest, first, n_steps);
    const Trace without = run_forward(*plain, shape, batch, fewest, first, n_steps);
    if (with.tokens != without.tokens || with.sums != without.sums)
      job.report.fail(name, "other logits or tokens with graphs than without");
    else if (without.graph_steps > 0)
      job.report.fail(name, "a graph where graphs are off");
    else if (!graphs_are_off() && with.graph_steps < static_cast<uint64_t>(n_steps) * 3 / 4)
      job.report.fail(name, "too few graphs: " + std::to_string(with.graph_steps) + " of " +
                                std::to_string(n_steps) + " steps");
    else
      job.report.add(name, {{"graph_steps", static_cast<double>(with.graph_steps)}});
  };
  check("steps that go forward", whole, 3, 3);
  check("steps of sequences that come and go", small, 10, 9);  // of one size, see rounded_up
}

void time_models(Job& job) {
  const auto bf16 = DType::bf16;
  if (job.small) {
    const Shape tiny{"tiny", "BF16", bf16, bf16, 2, 128, 256, 4, 2, 32, 512, true};
    return time_model(job, tiny, {1, 3}, 40, 2);
  }
  const Shape qwen{"qwen3-0.6b", "BF16", bf16, bf16, 28, 1024, 3072, 16, 8, 128, 151936, true};
  const Shape llama{"llama-3.1-8b", "BF16", bf16, bf16, 32, 4096, 14336, 32, 8, 128, 128256, false};
  // Half of the down and value matrices of Q4_K_M are Q6_K; here none, so this reads a little less.
  const Shape quantized{"llama-3.1-8b",
                        "Q4_K with a Q6_K head",
                        DType::q4_k,
                        DType::q6_k,
                        32,
                        4096,
                        14336,
                        32,
                        8,
                        128,
                        128256,
                        false};
  time_model(job, qwen, {1, 64, 256}, 1024, 8);
  time_model(job, quantized, {1, 8}, 1024, 1);
  time_model(job, llama, {1, 8, 64, 256}, 1024, 8);
}

}  // namespace millrace
