// That steps which go forward give the same bits with graphs as without, and draw the same tokens
// where each is asked for before the one before is read.

#include <cstdlib>
#include <string>

#include "model.h"

namespace millrace {
namespace {

// What each step of some sequences drew and its logits added up to, bit for bit. Each goes on with
// its own tokens, past the ends of pages and of attention's ranges; from step to step one fewer
// takes part, down to `fewest`.
struct Trace {
  std::vector<int32_t> tokens;
  std::vector<uint32_t> sums;
  uint64_t graph_steps, changed_kernels;
};

// A model and `batch` sequences of it that have `first` positions.
struct Run {
  Device& device;
  Arena arena{device};
  Config config;
  Weights weights;
  Cache cache;
  std::unique_ptr<Workspace> workspace;
  Drawing drawing;
  Step step;

  Run(Device& on, const Shape& shape, int batch, int first, int n_steps)
      : device(on),
        config(config_of(shape)),
        cache(make_cache(arena, {shape.layers, shape.kv_heads, shape.head_dim, 32, DType::f16},
                         batch, first + n_steps)),
        drawing(on, batch, shape.vocabulary),
        step(cache, batch, first, 1, shape.vocabulary) {
    WeightMaker make(arena);
    make_weights(make, arena, shape, config, weights);
    auto made = Workspace::create(config, device, batch, batch);
    must(made.status());
    workspace = std::move(*made);
  }
};

Trace run_forward(Device& device, const Shape& shape, int batch, int fewest, int first,
                  int n_steps) {
  Run run(device, shape, batch, first, n_steps);
  auto& [on, arena, config, weights, cache, workspace, drawing, step] = run;
  const DeviceInfo before = device.info();
  Trace trace{};
  for (int i = 0; i < n_steps; ++i) {
    const int n = batch - i % (batch - fewest + 1);
    must(forward(config, weights, device, cache.view, step.input(n), *workspace));
    const auto& drawn = drawing.draw(workspace->logits, n);
    trace.sums.push_back(sum_of(arena.read(
        workspace->logits, static_cast<size_t>(n) * static_cast<size_t>(shape.vocabulary))));
    for (int row = 0; row < n; ++row) {
      const auto at = static_cast<size_t>(row);
      trace.tokens.push_back(drawn[at].token);
      step.tokens[at] = drawn[at].token;
      ++step.positions[at];
      ++step.spans[at].first_position;
    }
  }
  trace.graph_steps = device.info().graph_steps - before.graph_steps;
  trace.changed_kernels = device.info().changed_kernels - before.changed_kernels;
  return trace;
}

// What is drawn where tokens stay on the device.
std::vector<int32_t> run_ahead(Device& device, const Shape& shape, int batch, int first,
                               int n_steps) {
  Run run(device, shape, batch, first, n_steps);
  auto& [on, arena, config, weights, cache, workspace, drawing, step] = run;
  std::vector<int32_t> tokens;
  const auto read = [&] {
    for (const Draw& draw : drawing.read()) tokens.push_back(draw.token);
  };
  for (int i = 0; i < n_steps; ++i) {
    must(forward(config, weights, device, cache.view, step.input_after(drawing), *workspace));
    drawing.ask(workspace->logits, batch);
    if (drawing.on_way() == k_steps_on_way) read();
    step.advance();
  }
  while (drawing.on_way() > 0) read();
  return tokens;
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
  // The first steps have none: workspaces grow, and a graph is made of what came before.
  const uint64_t fewest_graphs = job.small ? 6 : 225;
  const auto plain = job.open_plain();
  const auto check = [&](const char* name, const Shape& shape, int batch, int fewest) {
    if (!job.wants(name)) return;
    job.report.begin(name);
    const Trace with = run_forward(job.device, shape, batch, fewest, first, n_steps);
    const Trace without = run_forward(*plain, shape, batch, fewest, first, n_steps);
    if (with.tokens != without.tokens || with.sums != without.sums)
      job.report.fail(name, "other logits or tokens with graphs than without");
    else if (without.graph_steps > 0)
      job.report.fail(name, "a graph where graphs are off");
    else if (!graphs_are_off() && with.graph_steps < fewest_graphs)
      job.report.fail(name, "too few graphs: " + std::to_string(with.graph_steps) + " of " +
                                std::to_string(n_steps) + " steps");
    else
      job.report.add(name, {{"graph_steps", static_cast<double>(with.graph_steps)},
                            {"changed_kernels", static_cast<double>(with.changed_kernels)}});
  };
  const auto check_ahead = [&](const char* name, const Shape& shape, int batch) {
    if (!job.wants(name)) return;
    job.report.begin(name);
    const Trace waited = run_forward(job.device, shape, batch, batch, first, n_steps);
    if (run_ahead(job.device, shape, batch, first, n_steps) != waited.tokens)
      job.report.fail(name, "other tokens where they stay on the device");
    else
      job.report.add(name, {{"steps", static_cast<double>(n_steps)}});
  };
  check("steps that go forward", whole, 3, 3);
  check_ahead("steps asked for ahead", whole, 3);
  check("steps of sequences that come and go", small, 10, 9);  // of one size, see rounded_up
}

}  // namespace millrace
