#!/usr/bin/env python3
"""The job's rows as two tables: each operator beside cuBLAS and the roofline of the device as it was
measured, and the figures that are wanted, each with what must be, what is aimed at, and what the
step took beside its kernels. Some rows also have what they are where each step is waited for before
the next is asked for, with early starts, and by products of warps alone.

  python3 bench/gpu/table.py results.jsonl early.jsonl warps.jsonl
"""

import json
import os
import sys

# Where the job has not measured them: what an H200 was seen to do, a copy and bf16 products.
USUAL_GB_S, USUAL_TFLOP_S = 4300, 790

# what, a row's name, its figure, must, aim
WANTED = (
    ("8B BF16, 1 @ 1k, tokens/s", "decode llama-3.1-8b BF16 1 @", "tokens_s", 150, 225),
    ("8B BF16, 64 @ 1k, tokens/s", "decode llama-3.1-8b BF16 64 @", "tokens_s", 6500, 9500),
    ("8B BF16, 256 @ 1k, tokens/s", "decode llama-3.1-8b BF16 256 @", "tokens_s", 12000, 17000),
    ("8B Q4_K_M, 1 @ 1k, tokens/s", "decode llama-3.1-8b Q4_K_M 1 @", "tokens_s", 250, 450),
    ("8B BF16, prefill of 8 x 1k, tokens/s", "prefill llama-3.1-8b BF16 8 @", "tokens_s", 25000, 48000),
    ("0.6B BF16, 1 @ 1k, tokens/s", "decode qwen3-0.6b BF16 1 @", "tokens_s", 600, 1200),
    ("decode attention, 256 @ 1k, GB/s", "attention 256 @ 1024 + 1", "GB_s", 3000, 3900),
)


def read(path, failures):
    """Rows by name; those that failed are also added to the list."""
    rows = {}
    if not os.path.exists(path):
        return rows
    with open(path, encoding="utf-8") as file:
        for line in file:
            try:
                row = json.loads(line)
            except json.JSONDecodeError:  # the program was ended here
                continue
            if "failed" in row:
                failures.append(row)
            if "name" in row:
                rows[row["name"]] = row
    return rows


def first(rows, start):
    return next((row for name, row in rows.items() if name.startswith(start)), {})


def show(value, form="{:.1f}"):
    return "missing" if value is None else form.format(value)


def print_operators(rows, warps, memory, arithmetic):
    print(
        f"{'operator':<42}{'us':>10}{'GB/s':>9}{'TFLOP/s':>9}{'roofline':>10}{'cuBLAS us':>11}"
        f"{'by warps us':>13}"
    )
    for name, row in rows.items():
        if "us" not in row or "MB" not in row:
            continue
        least = max(row["MB"] * 1e3 / memory, row.get("GFLOP", 0) * 1e3 / arithmetic)
        is_product = name.startswith("matmul")
        peer = rows.get(name.replace("matmul", "cublas"), {}).get("us") if is_product else None
        by_warps = warps.get(name, {}).get("us")
        tflops = row.get("TFLOP_s")
        print(
            f"{name:<42}{row['us']:>10.2f}{row['GB_s']:>9.0f}"
            f"{'' if tflops is None else f'{tflops:.1f}':>9}{100 * least / row['us']:>9.0f}%"
            f"{'' if peer is None else f'{peer:.2f}':>11}"
            f"{'' if by_warps is None else f'{by_warps:.2f}':>13}"
        )


def print_wanted(rows, early, warps, memory, arithmetic):
    print(
        f"{'wanted':<40}{'is':>9}{'must':>8}{'aim':>8}{'roofline':>10}{'one by one':>12}"
        f"{'early starts':>14}{'by warps':>10}{'step - kernels':>16}"
    )
    for what, name, figure, must, aim in WANTED:
        row = first(rows, name)
        roofline = memory if figure == "GB_s" else None
        if "GB" in row:
            seconds = max(row["GB"] / memory, row["TFLOP"] / arithmetic)
            roofline = row["tokens_s"] * row["step_ms"] / 1e3 / seconds
        busy = rows.get(f"kernels of {name}", {}).get("busy_ms")
        waited = row["tokens_s"] * row["step_ms"] / row["waited_ms"] if "waited_ms" in row else None
        rest = row["step_ms"] - busy if busy is not None and "step_ms" in row else None
        print(
            f"{what:<40}{show(row.get(figure), '{:.0f}'):>9}{must:>8}{aim:>8}"
            f"{show(roofline, '{:.0f}'):>10}{show(waited, '{:.0f}'):>12}"
            f"{show(first(early, name).get(figure), '{:.0f}'):>14}"
            f"{show(first(warps, name).get(figure), '{:.0f}'):>10}{show(rest, '{:.2f} ms'):>16}"
        )


def main():
    failures = []
    rows, early, warps = (read(path, failures) for path in sys.argv[1:])
    memory = rows.get("memory, copy", {}).get("GB_s", USUAL_GB_S)
    rates = [row["TFLOP_s"] for name, row in rows.items() if name.startswith("cublas")]
    arithmetic = max(rates, default=USUAL_TFLOP_S)
    print(f"roofline: {memory:.0f} GB/s, {arithmetic:.0f} TFLOP/s in bf16")
    print_operators(rows, warps, memory, arithmetic)
    print()
    print_wanted(rows, early, warps, memory, arithmetic)
    for row in failures:
        print(f"FAILED: {row['name']}: {row['failed']}")


main()
