#!/usr/bin/env bash
# Shows what distillation gains where labels are few and text is plenty: 6 minutes on 2 CPU cores, plus the download of torch.
#
#   bash scripts/demo.sh                      downloads SST-2; without a network, creates a small synthetic set
#   bash scripts/demo.sh --glue-dir DIR       uses SST-2 in DIR (also: GLUE_DIR=DIR)
#   bash scripts/demo.sh -- --seeds 1,2       arguments after -- are passed to experiments.py
#
# Fine-tunes a pre-trained MiniLM (6 layers, width 384) on 1,000 labelled sentences of SST-2. Then trains students with its
# first 2 layers, three seeds each, for equally many updates: on the labels alone, and with the teacher's hidden states
# and logits on 7,000 sentences more, which have no labels. Prints the difference with its interval, and what the student
# costs. Writes to runs/demo, with a folder for each source of data. A second run, after an interruption or with more
# seeds, continues from there.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/help.sh"

fail() {
    echo "demo.sh: $*" >&2
    exit 1
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
glue=${GLUE_DIR:-} given_by=GLUE_DIR
while [ $# -gt 0 ]; do
    case "$1" in
        --glue-dir)
            [ $# -ge 2 ] || fail "--glue-dir needs a folder."
            glue=$2 given_by=--glue-dir
            shift 2
            ;;
        --)
            shift
            break
            ;;
        *) fail "$1 is an unknown option: see $0 --help." ;;
    esac
done
if [ -n "$glue" ]; then
    for split in train dev; do
        [ -f "$glue/SST-2/$split.tsv" ] || fail "$given_by $glue has no SST-2/$split.tsv: give the parent folder of SST-2."
    done
    glue=$(cd "$glue" && pwd -P)
fi

cd "$root"
bash scripts/setup.sh
python=.venv/bin/python
# See "On a CPU" in docs/install.md.
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1} GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-10000}
device="" jobs=""
if ! $python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    device=--cpu jobs="--jobs 2"
fi

step() { printf '\n== %s\n' "$*"; }

# Use SST-2 in $1 if it is complete; otherwise download it.
real_glue() {
    bash scripts/download_glue.sh --check "$1" SST-2 2>/dev/null || bash scripts/download_glue.sh "$1" SST-2
}

minilm=runs/demo/minilm
if [ -n "$glue" ]; then
    # The checksum of the path distinguishes folders with the same name.
    demo=runs/demo/$(basename "$glue")-$(printf %s "$glue" | cksum | cut -d ' ' -f 1)
    step "Data: SST-2 from $glue"
elif real_glue runs/demo/sst-2/glue; then
    demo=runs/demo/sst-2 glue=runs/demo/sst-2/glue
    step "Data: SST-2"
else
    demo=runs/demo/made-up glue=runs/demo/made-up/glue
    step "Data: synthetic sentences, because SST-2 cannot be downloaded: scores of real text are lower"
    $python scripts/make_small_glue.py "$glue"
fi

step "Teacher: MiniLM, converted from its Hugging Face folder"
bash scripts/fetch_minilm.sh .cache/minilm
[ -f "$minilm/model.pt" ] || $python scripts/convert_hf.py import .cache/minilm "$minilm"

step "Data: 1,000 sentences with labels, 7,000 without"
mkdir -p "$demo"
sed -n 2,7001p "$glue/SST-2/train.tsv" | cut -f 1 >"$demo/text.txt"
$python -m preprocess.glue --glue-dir "$glue" --tasks SST-2 --encoder-dir "$minilm" --limit-train 1000 \
    --unlabelled "$demo/text.txt" --max-positions 128 --out "$demo/data"

step "Teacher: fine-tuned on the labels for 3 epochs"
$python scripts/finetune_teacher.py --data "$demo/data/SST-2-bin" --model "$minilm" --out "$demo/teachers/SST-2" \
    --epochs 3 --batch-size 32 --lr 1e-4 $device

step "Students with 2 of its 6 layers: on the labels alone (none), and with the teacher (hidden_mse_learn)"
# Each has 240 updates and is validated every 100. The teacher reads each sentence once, for all seeds.
$python experiments.py --task SST-2 --method none,hidden_mse_learn --init 0,1 --stage one --unlabelled-subset unlabelled \
    --epochs 10 --batch-size 32 --lr 3e-4 --seeds 1,2,3 --data "$demo/data" --teacher "$demo/teachers/{task}" \
    --teacher-cache "$demo/cache" --out "$demo" --group students $device $jobs "$@" \
    -- --max-update 240 --total-num-update 240 --warmup-updates 24 \
    --save-interval-updates 100 --keep-interval-updates 1 --validate-interval 100

step "What was gained"
$python experiments.py report --out "$demo" --group students --baseline none | sed -n '/^| method/,/^$/p'
$python scripts/compare.py "$demo/teachers/SST-2" "$demo"/students/SST-2-hidden_mse_learn-*-seed1-* \
    --data "$demo/data" --out "$demo/comparison" $device
echo
echo "Curves: $demo/students/report/curves-SST-2.png. All of the report: $demo/students/report/report.html."
echo "The same command with -- --seeds 1,2,3,4 adds a seed."
