#!/usr/bin/env bash
# Everything that is asked of a machine with a GPU, in one call of at most ten minutes, without Node
# and without a network: what `npm run gpu` runs after it has built, and what can be carried to a
# machine that has neither.
#   bench/gpu/run.sh <gpu-job> <libmillrace-cuda.so> <gpu-probe> <folder for the results>
set -u
job=$1 library=$2 probe=$3 out=$4
here=$(cd "$(dirname "$0")" && pwd)
failed=0
mkdir -p "$out"
note() { echo "::: $*"; }
left() { echo "$((SECONDS < 580 ? 590 - SECONDS : 10))"; } # seconds of the ten minutes

note device
nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv |
  tee "$out/device.csv"

note probe
timeout 20 "$probe" >"$out/probe.txt" || failed=1

note numerics
timeout 90 "$job" "$library" checks --out "$out/checks.jsonl" || failed=1

if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck; do
    note "$tool"
    timeout 60 compute-sanitizer --tool "$tool" --error-exitcode 9 \
      "$job" "$library" --small checks >"$out/$tool.txt" 2>&1 || failed=1
    tail -3 "$out/$tool.txt"
  done
else
  note "compute-sanitizer: skipped, not there"
fi

note operators
timeout 100 "$job" "$library" operators --out "$out/operators.jsonl" || failed=1
if python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
  note peer
  timeout 60 python3 "$here/peer.py" --out "$out/peer.json" || failed=1
else
  note "peer: skipped, no PyTorch with a device"
fi

note models
timeout 180 "$job" "$library" models --out "$out/models.jsonl" || failed=1

# Whether a kernel may start before the one before it has ended: right first, then what it brings.
export MILLRACE_CUDA_EARLY_STARTS=1
note "numerics, early starts"
timeout "$(left)" "$job" "$library" --small checks --out "$out/checks-early.jsonl" || failed=1
note "models, early starts"
timeout "$(left)" "$job" "$library" models --out "$out/models-early.jsonl" || failed=1
exit $failed
