#!/usr/bin/env bash
# Writes constraints.txt: the newest versions that pyproject.toml allows. Run all tests afterwards.
#
#   bash scripts/update_constraints.sh
#
# torch and its CUDA packages are left out, because users choose their build (UV_TORCH_BACKEND).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/help.sh"

cd "$(dirname "${BASH_SOURCE[0]}")/.."
uv=$(command -v uv || echo .cache/uv/bin/uv)
{
    echo "# Tested versions, used by scripts/setup.sh. Written by scripts/update_constraints.sh."
    "$uv" pip compile pyproject.toml --all-extras --group dev --group fairseq --universal --python-version 3.11 \
        --no-header --no-annotate --quiet | sed -E '/^(torch|torchaudio|triton|nvidia-[a-z0-9-]+|cuda-[a-z]+)==/d'
} >constraints.txt.new
mv constraints.txt.new constraints.txt
