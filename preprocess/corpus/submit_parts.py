"""Submits the parts of a corpus as an array of Slurm jobs, and a last job that joins them."""

import sys
from pathlib import Path

from ..errors import DataError


def submit_parts(words: list[str], out: Path, parts: int, slurm: str) -> None:
    """Submit the jobs and return at once.

    words  arguments of `python -m preprocess.corpus` that encode and join all parts
    slurm  value of --slurm

    Raises DataError if Slurm cannot be used, or refuses a job.
    """
    from launcher.execution.slurm import Command, after_all, open_slurm

    program = [sys.executable, "-m", "preprocess.corpus"]
    try:
        queue = open_slurm(out.with_name(f"{out.name}.slurm"), slurm)
        cores = queue.parameters.get("cpus_per_task")
        if cores and not any(word.startswith("--workers") for word in words):
            words = [*words, "--workers", str(cores)]
        encode = [Command([*program, *words, "--part", f"{part}/{parts}"]) for part in range(1, parts + 1)]
        encoding = queue.submit(encode, f"{out.name}-encode")
        join = Command([*program, "--merge", "--out", str(out)])
        joining = queue.submit([join], f"{out.name}-join", after_all(encoding))
    except ValueError as error:
        raise DataError(f"{error}.") from None
    ids = f"{encoding[0].partition('_')[0]} {joining[0]}"
    print(
        f"Submitted {parts} jobs that encode, and one that joins; the same command continues after a failure."
    )
    print(f"Watch them: squeue --me; logs in {queue.folder}")
    print(f"Stop them:  scancel {ids}")
