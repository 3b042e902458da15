#!/usr/bin/env python3
"""What cuBLAS makes of the products that operators.cpp times, by way of PyTorch, on the same device:
prints the same rows. Copies of the weight rotate, so that none is read from a cache.

  python3 bench/gpu/peer.py [--out peer.json]
"""

import argparse
import json
import statistics

import torch

SHAPES = (("qkv", 6144, 4096), ("o", 4096, 4096), ("gate", 14336, 4096), ("down", 4096, 14336),
          ("head", 128256, 4096))
BATCHES = (1, 8, 64, 256, 1024, 4096)
MORE_THAN_A_CACHE = 256 << 20
ROUNDS = 5


def seconds_of(body, repeats):
    """The median of some rounds, each timed by events around many calls."""
    rounds = []
    for _ in range(ROUNDS + 1):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for i in range(repeats):
            body(i)
        end.record()
        end.synchronize()
        rounds.append(start.elapsed_time(end) / 1e3 / repeats)
    return statistics.median(rounds[1:])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out")
    args = parser.parse_args()
    rows = []
    for name, n_out, n_in in SHAPES:
        copies = max(1, MORE_THAN_A_CACHE // (n_out * n_in * 2))
        weights = [torch.randn(n_out, n_in, device="cuda", dtype=torch.bfloat16) for _ in range(copies)]
        for n in BATCHES if n_out < 100_000 else BATCHES[:3]:
            x = torch.randn(n, n_in, device="cuda", dtype=torch.bfloat16)
            seconds = seconds_of(lambda i: x @ weights[i % copies].T, 20 if n > 256 else 100)
            moved = 2 * (n_out * n_in + n * (n_out + n_in))
            rows.append({
                "name": f"cublas {name} {n_out}x{n_in} BF16 n={n}",
                "us": round(1e6 * seconds, 2),
                "GB_s": round(moved / seconds / 1e9, 1),
                "TFLOP_s": round(2 * n * n_out * n_in / seconds / 1e12, 2),
            })
            print(rows[-1], flush=True)
    if args.out:
        with open(args.out, "w") as out:
            json.dump({"device": torch.cuda.get_device_name(), "torch": torch.__version__,
                       "rows": rows}, out, indent=1)


main()
