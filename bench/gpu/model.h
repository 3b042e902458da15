#pragma once
// Models with random weights, made on the device from a shape, and steps of them through forward()
// as the engine calls it.
// Threads: one.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/sampler.h"
#include "job.h"
#include "model/forward.h"

namespace millrace {

struct Shape {
  const char* name;
  const char* mix;
  DType weights, head;
  int layers, dim, hidden, heads, kv_heads, head_dim, vocabulary;
  bool qk_norm;
  float norm_eps = 1e-5f;
  float rope_base = 5e5f;

  std::string title() const { return std::string(name) + " " + mix; }
};

constexpr float k_qwen_eps = 1e-6f, k_qwen_base = 1e6f;

Config config_of(const Shape& shape);

// One band of rows is packed and copied to all of a matrix's places: the values repeat within it,
// the memory does not. No two matrices have the same.
class WeightMaker {
 public:
  explicit WeightMaker(Arena& arena) : arena_(arena) {}

  Weight matrix(DType dtype, int rows, int cols);
  // All rows differ, and `plain` keeps them.
  Weight whole(DType dtype, int rows, int cols, std::vector<uint8_t>& plain);
  Weight table(DType dtype, int rows, int cols);
  const float* ones(int n) { return arena_.floats(std::vector<float>(static_cast<size_t>(n), 1)); }
  size_t total_bytes() const { return total_bytes_; }  // of matrices

 private:
  Arena& arena_;
  size_t total_bytes_ = 0;
  uint64_t seed_ = 0;
};

void make_weights(WeightMaker& make, Arena& arena, const Shape& shape, const Config& config,
                  Weights& weights);

// Draws a token for each row of logits, at temperature 1 from all of the vocabulary.
class Drawing {
 public:
  Drawing(Device& device, int batch, int width);
  const std::vector<Draw>& draw(float* logits, int n);  // waits for the device

  // As the engine does where it runs ahead: asks before it waits for the step before.
  void ask(float* logits, int n);
  const std::vector<Draw>& read();
  int on_way() const { return on_way_; }  // asked for and not read
  const SampleResult* drawn() const { return sampler_->drawn(); }

 private:
  Device& device_;
  const Sampling sampling_;
  std::unique_ptr<Sampler> sampler_;
  std::vector<Wanted> wanted_;
  uint64_t position_ = 0;
  std::vector<Draw> draws_;
  int on_way_ = 0;
};

// A step that repeats: every sequence has `rows` new tokens after `context`, and one logit row.
struct Step {
  std::vector<int32_t> tokens, positions, outputs;
  std::vector<Span> spans;

  Step(const Cache& cache, int batch, int context, int rows, int vocabulary);
  StepInput input() const;
  StepInput input(int n) const;  // of the first n sequences, where each has one row
  // With tokens below 0 for those that were drawn last.
  StepInput input_after(const Drawing& drawing) const;
  // Each goes on by one position, with the token that is drawn for its row.
  void advance();
};

// Bits of logits as a number that a row can show.
uint32_t sum_of(const std::vector<float>& logits);

}  // namespace millrace
