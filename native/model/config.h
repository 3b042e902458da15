#pragma once
// An architecture as data: everything the forward pass needs to know about a model's shape.
// archs/<family>.cpp fills it from the file's metadata; nothing below this names a family.
// Threads: immutable after load.

#include <string>
#include <vector>

#include "ops/ops.h"

namespace millrace {

struct Rope {
  int rotary = 0;          // dimensions turned per head, even
  bool adjacent = false;   // pairs (2i, 2i+1), else (i, i + rotary/2)
  float magnitude = 1.0f;  // YaRN's factor on cos and sin
  std::vector<float>
      inv_freq;  // [rotary / 2], all scaling applied (linear, llama-3, YaRN, rope_freqs)
};

struct Config {
  std::string architecture;  // as the file names it: "llama", "qwen3"
  int dim = 0;               // width of the residual stream
  int hidden_dim = 0;        // width of the feed-forward
  int n_layers = 0;
  int n_heads = 0;
  int n_kv_heads = 0;
  int head_dim = 0;
  int vocab_size = 0;
  int max_positions = 0;  // the context the model was made for
  float norm_eps = 0.0f;
  bool qk_norm = false;  // RMS norm of every q and k head before rope (qwen3)
  Act act = Act::silu;
  Rope rope;
  float attention_scale = 0;  // usually 1 / sqrt(head_dim)
  float embed_scale = 1.0f;
  bool tied = false;  // the output head is the embedding table

  int q_dim() const { return n_heads * head_dim; }
  int kv_dim() const { return n_kv_heads * head_dim; }
};

}  // namespace millrace
