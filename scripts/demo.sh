#!/usr/bin/env bash
# From an empty machine to distilled students on real data, and one table: about 15 minutes on 2 CPU cores.
#
#   bash scripts/demo.sh                      SST-2 is downloaded; without a network a small set is made up
#   bash scripts/demo.sh --glue-dir DIR       takes SST-2 from DIR (also: GLUE_DIR=DIR)
#   bash scripts/demo.sh -- --seeds 1,2       what follows -- goes to experiments.py
#
# A pre-trained MiniLM (6 layers, 384 wide) is fine-tuned on 8,000 sentences of SST-2; students of 3 of its
# layers then learn alone, from its logits, from its attention and from its hidden states. All is kept in
# runs/demo: run it again after an interruption, or with more seeds, and it goes on from there.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
glue=${GLUE_DIR:-}
while [ $# -gt 0 ]; do
    case "$1" in
        --glue-dir) [ $# -ge 2 ] || { echo "demo.sh: --glue-dir needs a folder." >&2; exit 1; }; glue=$2; shift 2 ;;
        --) shift; break ;;
        *) echo "demo.sh: $1 is not an option: see the top of $0." >&2; exit 1 ;;
    esac
done
if [ -n "$glue" ]; then
    [ -f "$glue/SST-2/train.tsv" ] || { echo "demo.sh: --glue-dir $glue holds no SST-2/train.tsv." >&2; exit 1; }
    glue=$(cd "$glue" && pwd -P)
fi

cd "$root"
bash scripts/setup.sh
python=.venv/bin/python
demo=runs/demo
mkdir -p "$demo"
# Large tensors in huge pages: faster to allocate on a CPU.
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}
device=$($python -c 'import torch; print("" if torch.cuda.is_available() else "--cpu --jobs 2")')

step() { printf '\n== %s\n' "$*"; }

step "Data: 8,000 sentences of SST-2"
if [ -z "$glue" ]; then
    glue=$demo/glue
    if [ -f "$glue/SST-2/train.tsv" ]; then
        echo "as found in $glue"
    elif ! bash scripts/download_glue.sh "$glue" SST-2; then
        echo "GLUE cannot be had here: made-up sentences in its format take its place. Scores mean nothing."
        glue=$demo/made-up-glue
        $python scripts/make_small_glue.py "$glue"
    fi
fi

step "Teacher: MiniLM, converted from its Hugging Face folder"
bash scripts/fetch_minilm.sh .cache/minilm
[ -f "$demo/minilm/model.pt" ] || $python scripts/convert_hf.py import .cache/minilm "$demo/minilm"
$python -m preprocess.glue --glue-dir "$glue" --tasks SST-2 --encoder-dir "$demo/minilm" --limit-train 8000 \
    --max-positions 128 --out "$demo/data"

step "Teacher: fine-tuned for 2 epochs"
$python scripts/finetune_teacher.py --data "$demo/data/SST-2-bin" --model "$demo/minilm" --out "$demo/teachers/SST-2" \
    --epochs 2 --batch-size 32 --lr 5e-5 ${device%--jobs 2}

step "Students: 3 of its 6 layers, lower or upper, each method in one stage of one epoch"
exec $python experiments.py --task SST-2 --method none,kd,att_kl_learn,hidden_mse_learn --init 0,1,2 --init 3,4,5 \
    --stage one --epochs 1 --batch-size 32 --lr 5e-5 --seeds 1 --data "$demo/data" --teacher "$demo/teachers/{task}" \
    --out "$demo" --group students $device "$@"
