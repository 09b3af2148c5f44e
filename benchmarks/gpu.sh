#!/usr/bin/env bash
# Tests the package on one GPU and compares the speed of a training step with other libraries, in at most 9 minutes.
#
#   bash benchmarks/gpu.sh                            writes to benchmarks/gpu-results
#   OUT=results bash benchmarks/gpu.sh                writes to another folder
#   PYTHON=python3 bash benchmarks/gpu.sh             uses another environment than .venv
#   DEVICE=cpu SIZES=tiny bash benchmarks/gpu.sh      runs the same parts with tiny models on the CPU
#
# More variables: SIZES (base large), LENGTHS (128 512), PRECISIONS (fp32 bf16; fp32 is without TF32, also possible: tf32),
# METHODS and VARIANTS (see benchmarks.step), BATCH_SIZE (32), SECONDS_IN_TOTAL (530).
#
# Only scripts/setup.sh downloads, if there is no .venv. Each part has its own time limit, so that the others also run if
# one fails. Writes results.md (parts and tables), results.csv (rows of the tables), and logs.
# The exit status is 1 if a part failed or had no time left.
set -uo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/help.sh"

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
mkdir -p "${OUT:=$root/benchmarks/gpu-results}" && out=$(cd "$OUT" && pwd -P) && cd "$root" || exit 1

if [ -z "${PYTHON:-}" ]; then
    bash scripts/setup.sh || exit 1
    PYTHON=.venv/bin/python
fi

DEVICE=${DEVICE:-cuda}
if [ "$DEVICE" = cuda ]; then
    export CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES:-0}
    "$PYTHON" -c 'import torch; torch.zeros(1, device="cuda")' || {
        echo "gpu.sh: torch finds no GPU. For a dry run give DEVICE=cpu SIZES=tiny." >&2
        exit 1
    }
    # Only their files: other tests may import packages that this environment lacks.
    tests=(-m gpu -n 4 $(grep -rl --include='test_*.py' 'mark\.gpu' tests))
else
    tests=(--quick -n 0 tests/gpu)
fi

SIZES=${SIZES:-base large}
if [ "$SIZES" = tiny ]; then
    : "${LENGTHS:=8}" "${SECONDS_IN_TOTAL:=1200}" "${BATCH_SIZE:=4}" "${VARIANTS:=ours; transformers}"
    rounds=(--rounds 1 --batches 1) seconds=240
else
    : "${LENGTHS:=128 512}" "${BATCH_SIZE:=32}"
    : "${VARIANTS:=ours; ours, compiled; transformers; TextBrewer, padded; stock fairseq}"
    rounds=(--rounds 5 --batches 2) seconds=90
fi

failed=0 end=$((SECONDS + ${SECONDS_IN_TOTAL:-530}))

# Runs a command as a part of results.md.
#   part NAME SECONDS LAST LOG COMMAND...
# SECONDS: its time limit, less if the total is nearly used up. LAST: number of last output lines to copy from LOG.
part() {
    local name=$1 limit=$2 last=$3 log=$out/$4 began=$SECONDS left=$((end - SECONDS)) status result
    shift 4
    printf '\n## %s\n\n' "$name" | tee -a "$out/results.md"
    if ((left < limit)); then limit=$left; fi
    if ((limit < 5)); then
        result="not run: no time left" failed=1
    else
        timeout --kill-after=5 "$limit" "$@" 2>>"$out/errors.log" | tee "$log"
        status=${PIPESTATUS[0]}
        tail -n "$last" "$log" >>"$out/results.md"
        case $status in
            0) result=passed ;;
            124 | 137) result="failed: stopped after its limit of $limit s" failed=1 ;;
            *) result="failed with status $status" failed=1 ;;
        esac
    fi
    printf '\n%s, %d s\n' "$result" $((SECONDS - began)) | tee -a "$out/results.md"
}

rm -f "$out"/{results.md,results.csv,tests.log,step.log,errors.log}
"$PYTHON" - "$DEVICE" >"$out/results.md" <<'END' || exit 1
import sys
import torch
from benchmarks.record import describe

print(f"# {describe(torch.device(sys.argv[1]))}\n\ntorch {torch.__version__}, CUDA {torch.version.cuda}")
END

OMP_NUM_THREADS=1 CUBLAS_WORKSPACE_CONFIG=:4096:8 part "Tests" 200 1 tests.log \
    "$PYTHON" -m pytest -q -W ignore "${tests[@]}"

for size in $SIZES; do
    case $size in
        tiny) models=2x16:1x16 ;;
        base) models=12x768:3x768 ;;
        large) models=24x1024:6x1024 ;;
        *)
            echo "gpu.sh: SIZES has $size: give tiny, base or large." >&2
            exit 1
            ;;
    esac
    for length in $LENGTHS; do
        for precision in ${PRECISIONS:-fp32 bf16}; do
            part "$size, $length tokens, $precision" "$seconds" 99 step.log \
                "$PYTHON" -m benchmarks.step --device "$DEVICE" --models "$models" --tokens "$length" \
                --precision "$precision" --methods "${METHODS:-att_mse_hidden_mse}" --variants "$VARIANTS" \
                --batch-size "$BATCH_SIZE" "${rounds[@]}" --record "$out/results.csv"
        done
    done
done
exit "$failed"
