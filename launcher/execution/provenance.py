"""Records the software versions, git commit and hardware of a run, so that its result can be reproduced."""

import contextlib
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from ..plugin import ROOT
from .slots import Slot

# Runs in the training environment, because the launcher's own Python may lack torch.
SCRIPT = """
import contextlib, json, platform, sys
from importlib import metadata

versions, gpu = {"python": platform.python_version()}, None
for name in ("torch", "fairseq", "numpy"):
    with contextlib.suppress(metadata.PackageNotFoundError):
        versions[name] = metadata.version(name)
if "gpu" in sys.argv:
    with contextlib.suppress(Exception):
        import torch
        gpu = torch.cuda.get_device_name()
print(json.dumps({"versions": versions, "gpu": gpu}))
"""

CPUS = Path("/proc/cpuinfo")


def provenance(python: str, slot: Slot, slots: int) -> dict[str, Any]:
    """Return the environment of a run that starts now; unknown values are None, unknown versions are missing.

    python  the interpreter of the training environment
    slots   number of runs that train at the same time, this one included
    """
    found = _query(python, slot)
    return {
        "versions": found.get("versions", {}),
        "commit": _git("rev-parse", "HEAD"),
        "modified": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "machine": {
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "cpu": cpu_model(),
            "gpu": found.get("gpu"),
            "slots": slots,
        },
    }


def _query(python: str, slot: Slot) -> dict[str, Any]:
    """Return the versions of the packages and the GPU of the slot; empty if that Python fails."""
    command = [python, "-c", SCRIPT, *(["gpu"] if slot.gpu is not None else [])]
    variables = os.environ | slot.environment()
    try:
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)
    except (OSError, subprocess.CalledProcessError, ValueError):
        return {}


def cpu_model() -> str | None:
    """Return the model name of the CPU."""
    with contextlib.suppress(OSError):
        for line in CPUS.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
