#!/usr/bin/env bash
# Sets up the project, distils students on real data and writes a table: 11 minutes on 2 CPU cores, plus the download of torch.
#
#   bash scripts/demo.sh                      downloads SST-2; without a network, creates a small synthetic set
#   bash scripts/demo.sh --glue-dir DIR       uses SST-2 in DIR (also: GLUE_DIR=DIR)
#   bash scripts/demo.sh -- --seeds 1,2       arguments after -- are passed to experiments.py
#
# Fine-tunes a pre-trained MiniLM (6 layers, width 384) on 8,000 sentences of SST-2. Then trains students with 3
# of its layers without a teacher, and with its logits, attention and hidden states. Writes to runs/demo, with a
# folder for each source of data. A second run, after an interruption or with more seeds, continues from there.
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
# Huge pages make the allocation of large tensors on a CPU faster.
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}
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
    step "Data: up to 8,000 sentences of SST-2 from $glue"
elif real_glue runs/demo/sst-2/glue; then
    demo=runs/demo/sst-2 glue=runs/demo/sst-2/glue
    step "Data: 8,000 sentences of SST-2"
else
    demo=runs/demo/made-up glue=runs/demo/made-up/glue
    step "Data: 4,000 synthetic sentences, because SST-2 cannot be downloaded: scores mean nothing"
    $python scripts/make_small_glue.py "$glue"
fi

step "Teacher: MiniLM, converted from its Hugging Face folder"
bash scripts/fetch_minilm.sh .cache/minilm
[ -f "$minilm/model.pt" ] || $python scripts/convert_hf.py import .cache/minilm "$minilm"
$python -m preprocess.glue --glue-dir "$glue" --tasks SST-2 --encoder-dir "$minilm" --limit-train 8000 \
    --max-positions 128 --out "$demo/data"

step "Teacher: fine-tuned for 2 epochs"
$python scripts/finetune_teacher.py --data "$demo/data/SST-2-bin" --model "$minilm" --out "$demo/teachers/SST-2" \
    --epochs 2 --batch-size 32 --lr 5e-5 $device

step "Students: 3 of its 6 layers, lower or upper, each method in one stage of one epoch"
$python experiments.py --task SST-2 --method none,kd,att_kl_learn,hidden_mse_learn --init 0,1,2 --init 3,4,5 \
    --stage one --epochs 1 --batch-size 32 --lr 5e-5 --seeds 1 --data "$demo/data" --teacher "$demo/teachers/{task}" \
    --out "$demo" --group students $device $jobs "$@"

if [ -f "$demo/students/table.md" ]; then
    echo "The table is in $demo/students/table.md. The same command with -- --seeds 1,2 adds a seed."
fi
