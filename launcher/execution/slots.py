"""Slots (one GPU, or CPU cores reserved for one run), and the processes that run in them."""

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import IO

# A GPU by number or UUID, or a MIG partition.
GPU = re.compile(r"\d+|(GPU|MIG)-.+")

# Variables that make training on a CPU faster.
CPU_VARIABLES = {
    # Puts large new tensors into huge pages: a step takes a tenth less time. glibc < 2.35 ignores it.
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    # A waiting thread soon sleeps. By default it waits actively, and on a machine with other jobs a step takes three times
    # as long.
    "GOMP_SPINCOUNT": "10000",
}

# Signals that stop a program.
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

PATIENCE = 10  # seconds that a process gets to end by itself


@dataclass(frozen=True)
class Slot:
    """The devices of one run at a time.

    gpu      number of its GPU, or numbers with commas; None for the CPU
    cores    numbers of the cores that its processes may use; empty for all
    threads  OMP_NUM_THREADS of its processes; None leaves it unset
    """

    gpu: str | None = None
    cores: tuple[int, ...] = ()
    threads: int | None = None

    def environment(self) -> dict[str, str]:
        """Return the variables of a run. The user's own values are kept, except CUDA_VISIBLE_DEVICES."""
        if self.gpu is not None:
            return {"CUDA_VISIBLE_DEVICES": self.gpu}
        added = dict(CPU_VARIABLES)
        if self.threads is not None:
            added["OMP_NUM_THREADS"] = str(self.threads)
        return {name: value for name, value in added.items() if name not in os.environ}


def make_slots(jobs: int, gpus: Sequence[str], gpus_per_run: int = 1) -> list[Slot]:
    """Return `jobs` slots: on the GPUs in turn or, without GPUs, on equal shares of the cores.

    Raises ValueError if there are fewer GPUs than `gpus_per_run`.
    """
    if gpus and len(gpus) < gpus_per_run:
        raise ValueError(
            f"--gpus-per-run {gpus_per_run} is more than the visible GPUs ({','.join(gpus)}): give at most {len(gpus)}"
        )
    if gpus:
        sets = [",".join(gpus[at : at + gpus_per_run]) for at in range(0, len(gpus), gpus_per_run)]
        whole = sets[: len(gpus) // gpus_per_run]
        return [Slot(gpu=whole[job % len(whole)]) for job in range(jobs)]
    if jobs == 1:
        return [Slot()]
    if not hasattr(os, "sched_getaffinity"):  # macOS cannot reserve cores
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


class Processes:
    """The running training processes; any thread can start one, until `stop` is called."""

    def __init__(self) -> None:
        self.running: set[subprocess.Popen] = set()
        self.stopped = False
        self.lock = threading.Lock()

    def call(
        self, command: Sequence[str], slot: Slot, sink: IO | None = None, lock: int | None = None
    ) -> int:
        """Run `command` with its output in the file `sink`; return the exit code.

        lock  file descriptor that the process inherits, so that its lock holds until the training has ended, even
              if the launcher is killed
        """
        with self.lock:
            if self.stopped:
                return -signal.SIGTERM
            if slot.cores:
                os.sched_setaffinity(0, slot.cores)  # of this thread, and of the process that it starts
            process = subprocess.Popen(
                command,
                env=os.environ | slot.environment(),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                pass_fds=() if lock is None else (lock,),
            )
            self.running.add(process)
        try:
            return process.wait()
        finally:
            with self.lock:
                self.running.discard(process)

    def stop(self) -> None:
        """Terminate all processes, and start no more."""
        with self.lock:
            self.stopped = True
            running = list(self.running)
        for process in running:
            process.terminate()
        deadline = time.monotonic() + PATIENCE
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
