// Times of whole models with random weights: steps of decoding at a context of 1,024 tokens, and
// prefill. A step ends as one of the engine does, with a token drawn for each row, and one that
// continues is asked for before the one before is read; `waited_ms` is that of steps one by one,
// `forward_ms` leaves drawing out.

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <string>

#include "model.h"

namespace millrace {
namespace {

// `rows` new tokens for each of `batch` sequences that have `before`.
struct Load {
  const char* what;
  int batch, before, rows;
};

std::string name_of(const Shape& shape, const Load& load) {
  return std::string(load.what) + " " + shape.title() + " " + std::to_string(load.batch) + " @ " +
         std::to_string(load.before) + " + " + std::to_string(load.rows);
}

struct Bench {
  Job& job;
  const Shape& shape;
  const Config& config;
  const Weights& weights;
  size_t weight_bytes;

  KvShape kv() const { return {shape.layers, shape.kv_heads, shape.head_dim, 32, DType::f16}; }
  void run(const Load& load) {
    const std::string name = name_of(shape, load);
    if (!job.wants(name)) return;
    job.report.begin(name);
    Device& device = job.device;
    Arena arena(device);
    const Cache cache = make_cache(arena, kv(), load.batch, load.before + load.rows);
    constexpr int k_filled_at_once = 512;
    auto workspace = Workspace::create(
        config, device, std::max(load.batch * load.rows, k_filled_at_once), load.batch);
    must(workspace.status());
    fill(cache, load, **workspace);
    const Step step(cache, load.batch, load.before, load.rows, shape.vocabulary);
    Drawing drawing(device, load.batch, shape.vocabulary);
    const auto forward_once = [&] {
      must(forward(config, weights, device, cache.view, step.input(), **workspace));
      must(device.finish());
    };
    const auto whole_step = [&] {
      must(forward(config, weights, device, cache.view, step.input(), **workspace));
      drawing.draw((*workspace)->logits, load.batch);
    };
    // The same step each time, but for its tokens: those that were drawn.
    Step next = step;
    if (load.rows == 1)
      for (int i = 0; i < load.batch; ++i) next.tokens[static_cast<size_t>(i)] = ~i;
    const auto read_until = [&](int most) {
      while (drawing.on_way() > most) drawing.read();
    };
    const auto step_ahead = [&] {
      must(forward(config, weights, device, cache.view, next.input_after(drawing), **workspace));
      drawing.ask((*workspace)->logits, load.batch);
      read_until(load.rows == 1 ? k_steps_on_way - 1 : 0);
    };
    if (job.steps > 0) return repeat(name, whole_step);
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
    const uint64_t before = device.info().graph_steps;
    const double forward_s = seconds_of(device, forward_once);
    const double waited_s = seconds_of(device, whole_step);
    const double step_s = seconds_of(device, step_ahead, [&] { read_until(0); });
    const uint64_t graph_steps = device.info().graph_steps - before;
    const double moved = static_cast<double>(weight_bytes) + cache_bytes(load);
    job.report.add(name, {{"tokens_s", static_cast<double>(load.batch) * load.rows / step_s},
                          {"step_ms", 1e3 * step_s},
                          {"waited_ms", 1e3 * waited_s},
                          {"forward_ms", 1e3 * forward_s},
                          {"GB_s", moved / forward_s / 1e9},
                          {"TFLOP_s", operations(load) / forward_s / 1e12},
                          {"GB", moved / 1e9},
                          {"TFLOP", operations(load) / 1e12},
                          {"graph_steps", static_cast<double>(graph_steps)},
                          {"logits_sum", static_cast<double>(sum_of(first) & 0xfffff)}});
  }

  // For a profiler: all steps have the same kernels, and there are no others but those that filled.
  void repeat(const std::string& name, const std::function<void()>& whole_step) {
    const double seconds = [&] {
      const auto start = std::chrono::steady_clock::now();
      for (int i = 0; i < job.steps; ++i) whole_step();
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }();
    job.report.add(name, {{"step_ms", 1e3 * seconds / job.steps}});
  }

  double cache_bytes(const Load& load) const {
    return static_cast<double>(job.device.ops().kv_page_bytes(kv())) / kv().page_tokens *
           (load.before + load.rows) * load.batch;
  }

  // Of products and attention; the head's are those of the outputs.
  double operations(const Load& load) const {
    const double tokens = static_cast<double>(load.batch) * load.rows;
    const double layer = static_cast<double>(shape.dim) *
                         (2.0 * config.q_dim() + 2.0 * config.kv_dim() + 3.0 * shape.hidden);
    const double seen = load.before + (load.rows + 1) / 2.0;
    const double head = static_cast<double>(shape.dim) * shape.vocabulary * load.batch;
    return 2 * layer * shape.layers * tokens + 2 * head +
           4.0 * config.q_dim() * seen * tokens * shape.layers;
  }

  // Real keys and values before the step, for zeros would be read faster: those of the first
  // sequence are computed, the others have the same.
  void fill(const Cache& cache, const Load& load, Workspace& workspace) {
    const int most = workspace.max_rows;
    for (int at = 0; at < load.before; at += most) {
      const int rows = std::min(most, load.before - at);
      const Step step(cache, 1, at, rows, shape.vocabulary);
      StepInput input = step.input();
      input.n_outputs = 0;
      must(forward(config, weights, job.device, cache.view, input, workspace));
      must(job.device.finish());
    }
    if (load.before == 0) return;
    auto* first = static_cast<uint8_t*>(cache.view.data);
    const size_t size_bytes = cache.view.page_bytes * static_cast<size_t>(cache.pages_each);
    for (int i = 1; i < load.batch; ++i)
      must(job.device.copy(first + static_cast<size_t>(i) * size_bytes, first, size_bytes));
  }
};

void time_model(Job& job, const Shape& shape, const std::vector<Load>& loads) {
  const auto is_wanted = [&](const Load& load) { return job.wants(name_of(shape, load)); };
  if (std::none_of(loads.begin(), loads.end(), is_wanted)) return;
  Arena arena(job.device);
  WeightMaker make(arena);
  const Config config = config_of(shape);
  Weights weights;
  make_weights(make, arena, shape, config, weights);
  Bench bench{job, shape, config, weights, make.total_bytes()};
  for (const Load& load : loads) bench.run(load);
}

}  // namespace

void time_models(Job& job) {
  const auto bf16 = DType::bf16;
  if (job.small) {
    const Shape tiny{"tiny", "BF16", bf16, bf16, 2, 128, 256, 4, 2, 32, 512, true};
    return time_model(job, tiny,
                      {{"decode", 1, 40, 1}, {"decode", 3, 40, 1}, {"prefill", 2, 0, 65}});
  }
  const Shape llama{"llama-3.1-8b", "BF16", bf16, bf16, 32, 4096, 14336, 32, 8, 128, 128256, false};
  Shape quantized = llama;
  quantized.mix = "Q4_K_M";
  quantized.weights = DType::q4_k;
  quantized.head = DType::q6_k;
  const Shape qwen{"qwen3-0.6b", "BF16", bf16, bf16,   28,   1024,       3072,
                   16,           8,      128,  151936, true, k_qwen_eps, k_qwen_base};
  time_model(job, llama,
             {{"decode", 1, 1024, 1},
              {"prefill", 8, 0, 1024},
              {"decode", 64, 1024, 1},
              {"decode", 256, 1024, 1},
              {"prefill", 1, 0, 1024},
              {"decode", 8, 1024, 1}});
  time_model(job, quantized,
             {{"decode", 1, 1024, 1}, {"decode", 8, 1024, 1}, {"prefill", 1, 0, 1024}});
  time_model(job, qwen,
             {{"decode", 1, 1024, 1},
              {"decode", 64, 1024, 1},
              {"decode", 256, 1024, 1},
              {"prefill", 8, 0, 1024}});
}

}  // namespace millrace
