#!/usr/bin/env bash
# Downloads GLUE's tasks, AX and SNLI from their public addresses and checks the number of rows.
#
#   bash scripts/download_glue.sh DIR [TASK ...]     default: all (some hundred MB)
#   bash scripts/download_glue.sh --check DIR [TASK ...]   only check the files in DIR
#
# Tasks with correct row counts are not downloaded again. The data has its own terms of use:
# see https://gluebenchmark.com and https://nlp.stanford.edu/projects/snli.

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/help.sh"

ALL="CoLA SST-2 MRPC QQP STS-B MNLI QNLI RTE WNLI AX SNLI"
GLUE="https://dl.fbaipublicfiles.com/glue/data"
MRPC="https://dl.fbaipublicfiles.com/senteval/senteval_data"
SNLI="https://nlp.stanford.edu/projects/snli/snli_1.0.zip"

fail() {
    echo "download_glue.sh: $*" >&2
    exit 1
}

# Prints file:rows of a task. Rows are counted without the header, and only with as many fields as the first line,
# because QQP has malformed rows.
rows_of() {
    case "$1" in
        CoLA) echo "train:8551 dev:1043 test:1063" ;;
        SST-2) echo "train:67349 dev:872 test:1821" ;;
        MRPC) echo "train:3668 dev:408 test:1725" ;;
        QQP) echo "train:363846 dev:40430 test:390965" ;;
        STS-B) echo "train:5749 dev:1500 test:1379" ;;
        MNLI) echo "train:392702 dev_matched:9815 dev_mismatched:9832 test_matched:9796 test_mismatched:9847" ;;
        QNLI) echo "train:104743 dev:5463 test:5463" ;;
        RTE) echo "train:2490 dev:277 test:3000" ;;
        WNLI) echo "train:635 dev:71 test:146" ;;
        AX) echo "AX:1104" ;;
        SNLI) echo "snli_1.0_train:550152 snli_1.0_dev:10000 snli_1.0_test:10000" ;;
        *) fail "the task $1 is unknown: choose from $ALL." ;;
    esac
}

# Prints the problems of a task's files; nothing if there are none.
complaints() {
    local task="$1" split file expected found header=1
    for split in $(rows_of "$task"); do
        expected="${split#*:}"
        file="$DIR/$task/${split%%:*}.tsv"
        [[ "$task" == SNLI ]] && file="$DIR/snli_1.0/${split%%:*}.jsonl"
        if [[ ! -s "$file" ]]; then
            echo "$file is missing or empty"
            continue
        fi

        header=1
        [[ "$task" == SNLI || "$task/${split%%:*}" == CoLA/train || "$task/${split%%:*}" == CoLA/dev ]] && header=0
        found=$(LC_ALL=C awk -F'\t' -v header="$header" \
            'NR == 1 { width = NF } NF == width { rows++ } END { print rows - header }' "$file")
        [[ "$found" == "$expected" ]] || echo "$file has $found rows instead of $expected"
    done
}

fetch() {
    echo "  $1"
    curl --fail --location --silent --show-error --retry 3 --output "$2.part" "$1" ||
        fail "$1 could not be downloaded: check the connection, or copy the task to $DIR from elsewhere."
    mv "$2.part" "$2"
}

unpack() {
    fetch "$1" "$TEMPORARY/archive.zip"
    "$PYTHON" -m zipfile -e "$TEMPORARY/archive.zip" "$DIR"
    rm "$TEMPORARY/archive.zip"
}

# MRPC is available as published by Microsoft; GLUE's dev set is a list of id pairs.
make_mrpc() {
    local from="$1" to="$2"
    mkdir -p "$to"
    LC_ALL=C awk -F'\t' -v train="$to/train.tsv" -v dev="$to/dev.tsv" '
        { sub(/\r$/, "") }
        NR == FNR { chosen[$1, $2] = 1; next }
        FNR == 1 { print > train; print > dev; next }
        { print > (($2, $3) in chosen ? dev : train) }
    ' "$from/dev_ids.tsv" "$from/train.txt"
    LC_ALL=C awk -F'\t' -v OFS='\t' '
        { sub(/\r$/, "") }
        { $1 = FNR == 1 ? "index" : FNR - 2; print }
    ' "$from/test.txt" > "$to/test.tsv"
}

download() {
    case "$1" in
        MRPC)
            fetch "$MRPC/msr_paraphrase_train.txt" "$TEMPORARY/train.txt"
            fetch "$MRPC/msr_paraphrase_test.txt" "$TEMPORARY/test.txt"
            fetch "$GLUE/mrpc_dev_ids.tsv" "$TEMPORARY/dev_ids.tsv"
            make_mrpc "$TEMPORARY" "$DIR/MRPC"
            ;;
        AX) mkdir -p "$DIR/AX" && fetch "$GLUE/AX.tsv" "$DIR/AX/AX.tsv" ;;
        SNLI) unpack "$SNLI" ;;
        QQP) unpack "$GLUE/QQP-clean.zip" ;;
        QNLI) unpack "$GLUE/QNLIv2.zip" ;;
        *) unpack "$GLUE/$1.zip" ;;
    esac
}

main() {
    local check=0 task wrong bad=0
    if [[ "${1:-}" == --check ]]; then
        check=1
        shift
    fi
    [[ $# -ge 1 && "$1" != -* ]] || fail "the folder is missing: bash scripts/download_glue.sh [--check] DIR [TASK ...]"
    DIR="$1"
    shift

    # shellcheck disable=SC2086  # the list is meant to be split
    [[ $# -gt 0 ]] || set -- $ALL
    for task in "$@"; do
        rows_of "$task" > /dev/null
    done

    if [[ $check == 0 ]]; then
        PYTHON=$(command -v python3 || command -v python) || fail "Python is needed to unpack archives: install it."
        command -v curl > /dev/null || fail "curl is needed: install it."
        mkdir -p "$DIR"
        TEMPORARY=$(mktemp -d)
        trap 'rm -rf "$TEMPORARY"' EXIT
    fi

    for task in "$@"; do
        wrong=$(complaints "$task")
        if [[ -n "$wrong" && $check == 0 ]]; then
            echo "$task"
            download "$task"
            wrong=$(complaints "$task")
        fi

        if [[ -n "$wrong" ]]; then
            echo "$wrong" >&2
            bad=1
        else
            echo "$task: $(rows_of "$task")"
        fi
    done
    [[ $bad == 0 ]] || fail "some tasks in $DIR are missing or differ from the published data: see the lines above."
}

# The test sources this file and calls its functions.
if [[ "${BASH_SOURCE[0]}" == "$0" ]]; then
    main "$@"
fi
