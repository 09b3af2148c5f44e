"""What a run is trained by and on: versions, code and machine, for whoever wants to repeat or to judge the number."""

import contextlib
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from ..paths import ROOT
from .command import environment
from .devices import Slot

# Told by the Python that trains: this one may be another, without torch.
TOLD = """
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


def environment_info(python: str, slot: Slot, slots: int) -> dict[str, Any]:
    """Of a run that begins now; what cannot be found out is None, or left out of the versions.

    python  the one that trains
    slots   how many runs train side by side, this one included
    """
    told = _told(python, slot)
    return {
        "versions": told.get("versions", {}),
        "commit": _git("rev-parse", "HEAD"),
        "modified": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "machine": {
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "cpu": cpu_model(),
            "gpu": told.get("gpu"),
            "slots": slots,
        },
    }


def _told(python: str, slot: Slot) -> dict[str, Any]:
    """Versions of what decides numbers, and the GPU of the slot, where it has one; empty where that Python fails."""
    command = [python, "-c", TOLD, *(["gpu"] if slot.gpu is not None else [])]
    variables = os.environ | environment(slot)
    try:
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)
    except (OSError, subprocess.CalledProcessError, ValueError):
        return {}


def cpu_model() -> str | None:
    """As its maker calls it."""
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
