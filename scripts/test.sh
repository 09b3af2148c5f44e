#!/usr/bin/env bash
# Sets up .venv and runs all tests with pytest, including the style checks.
#
#   bash scripts/test.sh                    everything
#   bash scripts/test.sh --quick            about a minute: no slow tests, one set of parameters for each other test
#   bash scripts/test.sh tests/losses       any pytest option or path
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/help.sh"

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"
bash scripts/setup.sh

# Two processes with one thread each: the models are too small for several threads.
export OMP_NUM_THREADS=1
exec .venv/bin/python -m pytest -n 2 "$@"
