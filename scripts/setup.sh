#!/usr/bin/env bash
# Creates .venv/. Requires only Python 3.11-3.13, a C++ compiler and PyPI. Fast if .venv is up to date.
#
#   bash scripts/setup.sh                                  a few minutes the first time
#   FAIRSEQ_KD_PYTHON=python3.12 bash scripts/setup.sh     another interpreter (a command or a path)
#   UV_TORCH_BACKEND=cpu bash scripts/setup.sh             torch without CUDA, from PyTorch's own index
#
# Uses pip's settings PIP_FIND_LINKS, PIP_INDEX_URL, PIP_EXTRA_INDEX_URL and PIP_CERT.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/help.sh"

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"
venv=$root/.venv
stamp=$venv/.setup-stamp # line 1: checksum of the inputs, or "unfinished"; line 2: the message to print
log=$root/.cache/setup.log
fail() {
    echo "setup.sh: $*" >&2
    exit 1
}

# Prints the path of an interpreter without links. macOS before 12.3 has no program realpath.
real_path() {
    "$1" -c 'import os, sys; print(os.path.realpath(sys.executable))'
}

# Prints the first interpreter that runs and has a supported version. pyenv has shims on PATH for inactive versions,
# which fail, so pyenv's folders are searched as well.
find_python() {
    local names=(${FAIRSEQ_KD_PYTHON:-python3 python3.11 python3.12 python3.13 python})
    local pyenv_versions="" name candidate
    if command -v pyenv >/dev/null; then pyenv_versions=$(pyenv root)/versions; fi

    for name in "${names[@]}"; do
        for candidate in "$name" ${pyenv_versions:+"$pyenv_versions"/*/bin/"$name"}; do
            "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null &&
                real_path "$candidate" && return
        done
    done
    return 1
}

# Prints a checksum of everything that .venv depends on, including the project's path, which the editable install
# contains.
inputs_checksum() {
    { cat pyproject.toml constraints.txt fairseq_compat/*.pth; echo "$root"; } | cksum
}

up_to_date() {
    [ -f "$stamp" ] && [ -x "$venv/bin/python" ] || return 1
    [ "$(sed -n 1p "$stamp")" = "$(inputs_checksum)" ] || return 1
    [ -z "${FAIRSEQ_KD_PYTHON:-}" ] || [ "$(real_path "$venv/bin/python")" = "$(find_python)" ]
}

# Prints the path of uv, which is needed to override fairseq's pins (see pyproject.toml). The uv on PATH is not used
# if it is too old for dependency groups.
find_uv() {
    local own=.cache/uv/bin/uv
    uv pip install --help 2>/dev/null | grep -q -- --group && { echo uv; return; }
    "$own" --version >/dev/null 2>&1 && { echo "$own"; return; }

    echo "Installing uv into .cache/uv" >&2
    "$python" -m venv --clear .cache/uv >"$log" 2>&1 ||
        fail "$python cannot create virtual environments: install its venv package (Debian: python3-venv) or uv."
    .cache/uv/bin/pip install --quiet uv >"$log" 2>&1 ||
        fail "pip could not install uv (see $log): check the connection to PyPI or to the index in PIP_INDEX_URL."
    echo "$own"
}

pass_pip_settings_on() {
    local links=${PIP_FIND_LINKS:-}
    [ -z "$links" ] || export UV_FIND_LINKS=${UV_FIND_LINKS:-${links// /,}}
    [ -z "${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}
    [ -z "${PIP_EXTRA_INDEX_URL:-}" ] || export UV_INDEX=${UV_INDEX:-$PIP_EXTRA_INDEX_URL}
    [ -z "${PIP_CERT:-}" ] || export SSL_CERT_FILE=${SSL_CERT_FILE:-$PIP_CERT}
    # Without a home directory, uv downloads to the project.
    [ -w "${HOME:-/nonexistent}" ] || export HOME=$root/.cache UV_CACHE_DIR=${UV_CACHE_DIR:-$root/.cache/uv-cache}
}

install() {
    local python uv
    python=$(find_python) || fail "Python 3.11, 3.12 or 3.13 is needed, ${FAIRSEQ_KD_PYTHON:-python3} is not one of them or does not run: install it, or name one with FAIRSEQ_KD_PYTHON=/path/to/python3.12."
    command -v "${CXX:-c++}" >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null ||
        fail "fairseq is compiled on installation and no C++ compiler was found: install one (Debian: g++), or name it with CXX."
    "$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
        fail "fairseq is compiled on installation and $python has no Python.h: install its headers (Debian: python3-dev) or choose another with FAIRSEQ_KD_PYTHON."

    pass_pip_settings_on
    uv=$(find_uv)

    # An interrupted installation may have incomplete packages.
    if [ ! -x "$venv/bin/python" ] || [ "$(real_path "$venv/bin/python")" != "$python" ] ||
        [ "$(sed -n 1p "$stamp" 2>/dev/null)" = unfinished ]; then
        "$uv" venv --quiet --clear --python "$python" "$venv"
    fi
    echo unfinished >"$stamp"

    echo "Installing into .venv (torch with CUDA is about 3 GB to download, UV_TORCH_BACKEND=cpu 200 MB)" >&2
    if ! "$uv" pip install --python "$venv/bin/python" --constraint constraints.txt \
        --editable . --group dev --group fairseq 2>&1 |
        tee "$log" | sed '/^ [-+~] /d' >&2; then
        fail "the installation failed with the messages above (also in $log): fix the problem, or name a mirror or a folder of wheels with PIP_INDEX_URL or PIP_FIND_LINKS, and run this again to continue."
    fi

    local versions
    versions=$("$venv/bin/python" -c '
from importlib.metadata import version
from platform import python_version
print("Python %s, torch %s, fairseq %s" % (python_version(), version("torch"), version("fairseq")))')
    printf '%s\n%s\n' "$(inputs_checksum)" "Ready: .venv with $versions" >"$stamp.new"
    mv "$stamp.new" "$stamp"
}

if ! up_to_date; then
    mkdir -p .cache
    exec 9>.cache/setup.lock
    # A second call waits for the first, and then has nothing to do. (macOS has no flock and so no lock.)
    if command -v flock >/dev/null; then flock 9; fi
    up_to_date || install
fi
sed -n 2p "$stamp"
