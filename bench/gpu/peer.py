#!/usr/bin/env python3
"""What cuBLAS makes of the products that operators.cpp times, by way of PyTorch, on the same device:
adds the same rows, bf16 in and out. Copies of the weight rotate, so that none is read from a cache;
calls are replayed as a graph, so that none waits for the host.

  python3 bench/gpu/peer.py results.jsonl      status 77: no PyTorch with a device
"""

import json
import statistics
import sys

try:
    import torch
except ImportError:
    sys.exit(77)

SHAPES = (
    ("o", 4096, 4096),
    ("qkv", 6144, 4096),
    ("gate and up", 28672, 4096),
    ("down", 4096, 14336),
    ("head", 128256, 4096),
    ("qkv", 4096, 1024),
    ("o", 1024, 2048),
    ("gate and up", 6144, 1024),
    ("down", 1024, 3072),
)
BATCHES = (1, 8, 64, 256, 1024, 4096)
FEW = BATCHES[:3]
MORE_THAN_A_CACHE = 256 << 20
ROUNDS = 5
MOMENT = 0.02  # seconds of a round


def replayed_seconds(body, repeats):
    """The median of some replays of a graph of so many calls, timed by events, for one call."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(repeats):
            body(i)
    rounds = []
    for _ in range(ROUNDS + 3):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        rounds.append(start.elapsed_time(end) / 1e3 / repeats)
    return statistics.median(rounds[3:])


def time_product(name, n_out, n_in, n):
    copies = max(1, MORE_THAN_A_CACHE // (n_out * n_in * 2))
    bf16 = {"device": "cuda", "dtype": torch.bfloat16}
    weights = [torch.randn(n_out, n_in, **bf16) for _ in range(copies)]
    x = torch.randn(n, n_in, **bf16)
    out = torch.empty(n, n_out, **bf16)

    def body(i):
        torch.mm(x, weights[i % copies].t(), out=out)

    body(0)
    torch.cuda.synchronize()
    least = max(1, min(500, round(MOMENT / max(n_out * n_in * n * 2 / 700e12, n_out * n_in / 2e12))))
    seconds = replayed_seconds(body, -(-least // copies) * copies)
    moved = 2 * (n_out * n_in + n * (n_out + n_in))
    return {
        "name": f"cublas {name} {n_out}x{n_in} BF16 n={n}",
        "us": round(1e6 * seconds, 2),
        "GB_s": round(moved / seconds / 1e9, 1),
        "TFLOP_s": round(2 * n * n_out * n_in / seconds / 1e12, 2),
    }


def main():
    if not torch.cuda.is_available():
        sys.exit(77)
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    with open(sys.argv[1], "a", encoding="utf-8") as file:
        for shape in SHAPES:
            for n in BATCHES if 3072 * 2048 < shape[1] * shape[2] < 2**28 else FEW:
                row = time_product(*shape, n)
                print(row, flush=True)
                file.write(json.dumps(row) + "\n")
                file.flush()
        square = time_product("square", 8192, 8192, 8192)
        print(square, flush=True)
        file.write(json.dumps(square) + "\n")


main()
