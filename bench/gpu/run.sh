#!/usr/bin/env bash
# Everything that is asked of a machine with a GPU, in one call of at most ten minutes, without Node
# and without a network: what `npm run gpu` runs after it has built, and what can be carried to a
# machine that has neither. Each part is a program of its own with a limit of its own, so that one
# that dies or hangs takes nothing else with it; the figures that are wanted most come first.
#   bench/gpu/run.sh <folder of the build> <folder of the CUDA library> <folder for the results>
# Results: log.txt (all that was printed, the table last), results.jsonl (a line for each row),
# early.jsonl (those with early starts), warps.jsonl (those without warpgroups), probe.txt, sanitizer.txt, clocks.csv.
set -u
build=$1 cuda=$2 out=$3
here=$(cd "$(dirname "$0")" && pwd)
job=$build/gpu-job library=$cuda/libmillrace-cuda.so
rows=$out/results.jsonl
whole=580 # seconds
flags=(${MILLRACE_GPU_JOB_FLAGS:-}) # "--small" for a trial where kernels run on the host

note() { echo "::: $* (after $SECONDS s)"; }
failed=0
fail() {
  echo "FAILED: $*"
  failed=1
}
# Runs for at most so many seconds, and never past the whole.
limit() {
  local most=$1 left=$((whole - SECONDS))
  shift
  [ "$left" -gt 3 ] || { echo "no time left for: $*" && return 124; }
  timeout -k 5 "$((most < left ? most : left))" "$@"
}
part() { # part <seconds> <arguments of the job>
  local most=$1
  shift
  limit "$most" "$job" "$library" "${flags[@]}" "$@" --out "$rows" || fail "$* ended with $?"
}
# Python programs say by status 77 that they have not what they need.
python() {
  local most=$1 name=$2
  shift 2
  limit "$most" python3 "$here/$name.py" "$@"
  case $? in
  0) ;;
  77 | 127) note "$name: skipped" ;;
  *) fail "$name" ;;
  esac
}
told() { grep -vE '^(#|about)'; } # of a probe: what it says of instructions
sums() { # the bits of logits, by row
  sed -nE 's/.*"name": "([^"]*)".*"logits_sum": ([0-9]+).*/\1|\2/p' "$1" | sort
}

same_logits() { # same_logits <rows> <how they came about>
  [ -e "$1" ] || return 0
  local other
  other=$(join -t '|' <(sums "$rows") <(sums "$1") | awk -F '|' '$2 != $3')
  [ -z "$other" ] || fail "other logits $2: $other"
}

everything() {
  note device
  limit 20 nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv
  local fields=timestamp,clocks.sm,clocks.mem,power.draw,temperature.gpu,clocks_event_reasons.active
  timeout "$whole" nvidia-smi --query-gpu="$fields" --format=csv -lms 500 >"$out/clocks.csv" 2>&1 &
  local clocks=$!

  note probe
  if limit 20 "$cuda/gpu-probe" >"$out/probe.txt"; then
    # The same program over the runner of kernels: what the tests believe of the device.
    if [ -x "$build/gpu-probe" ]; then
      diff <(limit 20 "$build/gpu-probe" | told) <(told <"$out/probe.txt") >"$out/probe.diff"
      [ ! -s "$out/probe.diff" ] || fail "the device is not as believed: $(head -20 "$out/probe.diff")"
      rm "$out/probe.diff"
    fi
  else
    fail probe
    export MILLRACE_CUDA_GROUPS=0 # what hung or failed may be theirs: the rest goes without
    rm -f "$out/probe.txt" # the tests would read it
  fi

  note numerics
  for what in rows products attention bits steps; do part 60 "$what"; done
  local models
  models=$(mktemp -d)
  part 40 --models "$models"
  python 60 compare "$models" "$rows"

  # Said by the device's name: it has them, and they round as warps do.
  ! grep -q 'capability 9.0)' "$rows" || fail "warpgroups round otherwise than warps, or are off"

  note models
  part 60 models --only "llama-3.1-8b BF16"
  part 40 models --only "llama-3.1-8b Q4_K_M"
  part 30 models --only "qwen3-0.6b BF16"

  note operators
  part 70 operators
  python 50 peer "$rows"

  note kernels
  python 110 kernels "$build/gpu-job.so" "$library" "$rows" \
    "decode llama-3.1-8b BF16 1 @" "decode qwen3-0.6b BF16 1 @" "decode llama-3.1-8b Q4_K_M 1 @" \
    "decode llama-3.1-8b BF16 64 @" "decode llama-3.1-8b BF16 256 @" "prefill llama-3.1-8b BF16 8 @"

  # Whether a kernel may start before the one before it has ended: right first, then what it brings.
  note "early starts"
  export MILLRACE_CUDA_EARLY_STARTS=1
  local all=$rows
  rows=$out/early.jsonl
  for what in steps bits; do part 30 "$what"; done
  part 40 models --only "decode llama-3.1-8b BF16"
  part 20 models --only "decode qwen3-0.6b BF16"
  rows=$all
  unset MILLRACE_CUDA_EARLY_STARTS
  same_logits "$out/early.jsonl" "with early starts"

  # What warpgroups bring: the same by products of warps.
  note "without warpgroups"
  local groups=${MILLRACE_CUDA_GROUPS:-}
  export MILLRACE_CUDA_GROUPS=0
  rows=$out/warps.jsonl
  part 20 models --only "prefill llama-3.1-8b BF16 8 @"
  part 20 operators --only "matmul gate and up 28672x4096 BF16"
  part 15 operators --only "matmul o 4096x4096 BF16"
  rows=$all
  [ -n "$groups" ] && export MILLRACE_CUDA_GROUPS=$groups || unset MILLRACE_CUDA_GROUPS
  same_logits "$out/warps.jsonl" "without warpgroups"

  local sanitizer
  sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
  for tool in memcheck racecheck; do
    note "$tool"
    if [ ! -x "$sanitizer" ]; then
      echo "skipped: no compute-sanitizer"
      continue
    fi
    echo "::: $tool" >>"$out/sanitizer.txt"
    limit 60 "$sanitizer" --tool "$tool" --error-exitcode 9 \
      "$job" "$library" --small rows products attention bits >>"$out/sanitizer.txt" 2>&1
    case $? in
    0) ;;
    124) echo "incomplete: no finding until its time was over" ;;
    *) grep -q "Device not supported" "$out/sanitizer.txt" || fail "$tool" ;;
    esac
    tail -3 "$out/sanitizer.txt"
  done

  kill "$clocks" 2>/dev/null
  rm -rf "$models"
  note table
  [ -e "$rows" ] && timeout 10 python3 "$here/table.py" "$rows" "$out/early.jsonl" "$out/warps.jsonl"
  note done
  return $failed
}

mkdir -p "$out"
rm -f "$out"/*.jsonl "$out/sanitizer.txt"
everything 2>&1 | tee "$out/log.txt"
exit "${PIPESTATUS[0]}"
