#!/usr/bin/env python3
"""The small models that `gpu-job --models` wrote, computed anew by transformers: in float64, and in
bf16 for what a float type of 16 bits costs there. Ours has bf16 weights and float32 between
operators, so its distance from float64 must be smaller than that of bf16 throughout. (The classes
themselves norm and turn heads in float32.)

  python3 bench/gpu/compare.py <folder> results.jsonl      status 77: no transformers
"""

import json
import os
import sys

try:
    import torch
    import transformers
except ImportError:
    sys.exit(77)

CLASSES = {"llama": ("LlamaConfig", "LlamaForCausalLM"), "qwen3": ("Qwen3Config", "Qwen3ForCausalLM")}


def read_tensors(path):
    """By name, in the order of the file."""
    tensors = {}
    with open(path + ".txt", encoding="utf-8") as names, open(path + ".f32", "rb") as values:
        for line in names:
            name, *sizes = line.split()
            sizes = [int(size) for size in sizes]
            count = torch.Size(sizes).numel()
            data = bytearray(values.read(4 * count))
            tensors[name] = torch.frombuffer(data, dtype=torch.float32).reshape(sizes)
    return tensors


def model_of(kind, tensors, dtype):
    config_class, model_class = (getattr(transformers, name) for name in CLASSES[kind])
    layers, dim, hidden, heads, kv_heads, head_dim, vocabulary, eps, base = tensors["config"].tolist()
    config = config_class(
        vocab_size=int(vocabulary),
        hidden_size=int(dim),
        intermediate_size=int(hidden),
        num_hidden_layers=int(layers),
        num_attention_heads=int(heads),
        num_key_value_heads=int(kv_heads),
        head_dim=int(head_dim),
        rms_norm_eps=eps,
        max_position_embeddings=8192,
        rope_parameters={"rope_type": "default", "rope_theta": base},
        tie_word_embeddings=False,
        attn_implementation="eager",
    )
    model = model_class(config).eval()
    turns = model.model.rotary_emb.inv_freq  # stays as it is, also where weights have 16 bits
    model = model.to(dtype)
    model.model.rotary_emb.inv_freq = turns
    state = {name: t.to(dtype) for name, t in tensors.items() if name.endswith(".weight")}
    model.load_state_dict(state, strict=True)
    return model


def distance(one, exact):
    return ((one.double() - exact).norm() / exact.norm()).item()


def compare(kind, tensors):
    tokens = tensors["tokens"].long().unsqueeze(0)
    with torch.no_grad():
        exact = model_of(kind, tensors, torch.float64)(tokens).logits[0].double()
        half = model_of(kind, tensors, torch.bfloat16)(tokens).logits[0]
    ours = tensors["logits"]
    row = {
        "name": f"transformers {kind}",
        "error": distance(ours, exact),
        "error_of_bf16": distance(half, exact),
        "same_best": (ours.argmax(-1) == exact.argmax(-1)).double().mean().item(),
    }
    if not row["error"] < row["error_of_bf16"]:
        row["failed"] = "farther from float64 than bf16 throughout"
    return row


def main():
    folder, results = sys.argv[1:]
    failed = False
    with open(results, "a", encoding="utf-8") as file:
        for kind in CLASSES:
            path = os.path.join(folder, kind)
            if not os.path.exists(path + ".f32"):
                sys.exit(f"Expected {path}.f32")
            row = compare(kind, read_tensors(path))
            print(row, flush=True)
            file.write(json.dumps(row) + "\n")
            failed |= "failed" in row
    sys.exit(1 if failed else 0)


main()
