"""Slots: one GPU, or a set of CPU cores reserved for one run."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

# A GPU by number or UUID, or a MIG partition.
GPU = re.compile(r"\d+|(GPU|MIG)-.+")


@dataclass(frozen=True)
class Slot:
    """The device of one run at a time.

    gpu      number of its GPU; None for the CPU
    cores    numbers of the cores that its processes may use; empty for all
    threads  OMP_NUM_THREADS of its processes; None leaves it unset
    """

    gpu: str | None = None
    cores: tuple[int, ...] = ()
    threads: int | None = None


def make_slots(jobs: int, gpus: Sequence[str]) -> list[Slot]:
    """Return `jobs` slots: on the GPUs in turn or, without GPUs, on equal shares of the cores."""
    if gpus:
        return [Slot(gpu=gpus[job % len(gpus)]) for job in range(jobs)]
    if jobs == 1:
        return [Slot()]
    if not hasattr(os, "sched_getaffinity"):  # macOS: threads alone
        return [Slot(threads=max(1, (os.cpu_count() or 1) // jobs))] * jobs
    return [Slot(cores=cores, threads=len(cores)) for cores in share(sorted(os.sched_getaffinity(0)), jobs)]


def share(cores: Sequence[int], jobs: int) -> list[tuple[int, ...]]:
    """Return neighbouring cores for each job, with sizes that differ by one at most; more jobs than cores share them.

    share([0, 1, 2, 3, 4], 2) == [(0, 1, 2), (3, 4)]
    """
    if jobs >= len(cores):
        return [(cores[job % len(cores)],) for job in range(jobs)]
    size, larger = divmod(len(cores), jobs)
    ends = [job * size + min(job, larger) for job in range(jobs + 1)]
    return [tuple(cores[begin:end]) for begin, end in zip(ends, ends[1:], strict=False)]


def visible_gpus() -> list[str]:
    """Return the numbers of the GPUs, restricted by CUDA_VISIBLE_DEVICES; asks the driver, not torch."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        # As CUDA reads it: up to the first invalid name, such as -1 or Slurm's NoDevFiles.
        return list(takewhile(GPU.fullmatch, (number.strip() for number in allowed.split(","))))
    if shutil.which("nvidia-smi") is None:
        return []
    listing = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True)
    gpus = [line for line in listing.stdout.splitlines() if line.startswith("GPU ")]
    return [str(number) for number in range(len(gpus))] if listing.returncode == 0 else []
