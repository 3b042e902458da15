#!/usr/bin/env python3
"""What each kernel of a model's step takes, as PyTorch's profiler sees it, which traces every kernel
of its process: the job is loaded as a library. Adds a row for the step and one for each kernel.

  python3 bench/gpu/kernels.py gpu-job.so libmillrace-cuda.so results.jsonl <name of a row> …
Status 77: no PyTorch with a device.
"""

import collections
import ctypes
import json
import os
import re
import sys
import tempfile

os.environ.setdefault("TEARDOWN_CUPTI", "0")  # it is started once for each row
try:
    import torch
except ImportError:
    sys.exit(77)

STEPS = 12
LAST = 6  # steps that count: the first ones are no graph yet


def run_job(program, arguments):
    job = ctypes.CDLL(program)
    words = [b"gpu-job", *(word.encode() for word in arguments)]
    return job.gpu_job(len(words), (ctypes.c_char_p * len(words))(*words))


def traced_kernels(body):
    """(name, grid, start, duration) in microseconds, in order."""
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        if body() != 0:
            sys.exit("the job failed")
        torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "trace.json")
        profiler.export_chrome_trace(path)
        with open(path, encoding="utf-8") as file:
            events = json.load(file)["traceEvents"]
    kernels = [e for e in events if e.get("cat") == "kernel"]
    kernels.sort(key=lambda e: e["ts"])
    return [(e["name"], tuple(e["args"].get("grid", ())), e["ts"], e["dur"]) for e in kernels]


def period_of(names):
    """The fewest kernels after which the last steps repeat."""
    for period in range(1, len(names) // LAST + 1):
        last = names[-LAST * period :]
        if all(last[i] == last[i - period] for i in range(period, len(last))):
            return period
    return 0


def short(name):
    """A kernel's name and the arguments of its template, without namespaces and parameters."""
    text = name.replace("(anonymous namespace)::", "").removeprefix("void ")
    text = re.sub(r"\([\w:]+\)(?=[-\d])", "", text).rsplit("(", 1)[0]
    return re.sub(r"\w+::|\s", "", text)[:80]


def rows_of(name, kernels):
    period = period_of([kernel[:2] for kernel in kernels])
    if period == 0:
        return [{"name": f"kernels of {name}", "failed": f"no {LAST} alike steps in {len(kernels)} kernels"}]
    last = kernels[-LAST * period :]
    busy = sum(kernel[3] for kernel in last) / LAST
    gaps = 0
    for i in range(1, len(last)):
        if i % period:
            gaps += max(0, last[i][2] - last[i - 1][2] - last[i - 1][3]) / LAST
    rows = [{"name": f"kernels of {name}", "kernels": period, "busy_ms": busy / 1e3, "gaps_ms": gaps / 1e3}]
    sums = collections.defaultdict(list)
    for kernel in last:
        sums[(short(kernel[0]), "x".join(map(str, kernel[1])))].append(kernel[3])
    for (kernel, grid), times in sorted(sums.items(), key=lambda item: -sum(item[1])):
        rows.append({
            "name": f"kernel of {name}: {kernel} {grid}",
            "count": len(times) / LAST,
            "us": round(sum(times) / len(times), 3),
            "share": round(sum(times) / LAST / busy, 4),
        })
    return rows


def main():
    program, library, results, *names = sys.argv[1:]
    if not torch.cuda.is_available():
        sys.exit(77)
    torch.zeros(1, device="cuda")
    failed = False
    with open(results, "a", encoding="utf-8") as file:
        for name in names:
            arguments = [library, "--steps", str(STEPS), "--only", name, "models"]
            for row in rows_of(name, traced_kernels(lambda: run_job(program, arguments))):
                print(row, flush=True)
                file.write(json.dumps(row) + "\n")
                failed |= "failed" in row
            file.flush()
    sys.exit(1 if failed else 0)


main()
