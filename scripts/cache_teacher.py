"""Stores a teacher's signals before any training that learns from them: the same command, but nothing is trained.

    python scripts/cache_teacher.py --workers 2 -- data/MRPC-bin --teacher teachers/MRPC --teacher-cache caches/MRPC \\
        --criterion hsk --hsk-keep 1l_10t_0.1h --init-layers 0,1,2

What follows `--` are the flags of the training, of which those that have no bearing on the teacher may be left out
(the task is sentence_prediction_kd, the model roberta_student). Writes into --teacher-cache what that training asks
of the teacher, for all its splits and shards, in batches of --batch-size (32) and --max-tokens. Interrupted or killed,
it goes on from where it was; what is there already is read, and left alone where it is whole. It says first how much
room all of that takes, and starts only where it is free; with --dry-run it says no more than that.
"""

import contextlib
import logging
import os
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.arguments import Parser, positive, split
from launcher.execution.processes import PATIENCE
from launcher.execution.scheduler import ending_as_interrupted, say_interrupted

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    import numpy as np

    from fairseq_kd.data.sequences import SequenceDataset
    from fairseq_kd.teachers.cached import CachedTeacher

DEFAULTS = [
    *("--task", "sentence_prediction_kd"),
    *("--arch", "roberta_student"),
    *("--criterion", "kd"),
    *("--batch-size", "32"),
    # Nothing is trained, and no checkpoint chosen by it; but it has to be one that is logged.
    *("--best-checkpoint-metric", "loss"),
]
EVERY_SECONDS = 10

# What a terminal sends to workers, too.
OF_TERMINALS = {getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 all is stored, 1 it is not, 130 interrupted; what prevents it is said in a sentence."""
    own, flags = split(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    args = parser.parse_args(own)
    if not flags:
        parser.error("there is no training: give its flags after --")
    # In front, since of a flag that is given twice, or by two names, the last one counts.
    flags = [*DEFAULTS, *(["--cpu"] if args.cpu else []), *flags]

    try:
        with ending_as_interrupted():
            return store(args, flags)
    except KeyboardInterrupt:
        return say_interrupted()


def store(args: Namespace, flags: Sequence[str]) -> int:
    """Stores what a training with these flags asks of its teacher; the exit status."""
    # One process makes the files and finds out what is wrong; others then only write.
    began = time.monotonic()
    splits = list(_splits(flags))
    teacher = splits[0].teacher
    _tell(teacher.room(), teacher.folder)
    if args.dry_run:
        return 0

    teacher.take_room()
    lacking = [part.dataset.cached.invalid_rows() for part in splits]
    rows = sum(map(len, lacking))
    print(f"{rows:,} rows to write", flush=True)
    if rows and args.workers > 1:
        status = _spawn(args.workers, flags, lacking)
        if status:
            return status
    elif rows:
        _write(splits, lacking, 0, 1)
    print(f"{rows:,} rows written in {time.monotonic() - began:.0f} s", flush=True)
    return 0


def _tell(sizes: Mapping[str, int], folder: Path) -> None:
    """Says how many bytes each split takes, and all of them."""
    from fairseq_kd.data.cache.allocation import format_bytes, free_bytes

    for name, size in sizes.items():
        print(f"  {name}: {size:,} bytes")
    total = sum(sizes.values())
    print(
        f"{total:,} bytes to take ({format_bytes(total)}), of {format_bytes(free_bytes(folder))} free",
        flush=True,
    )


def _spawn(workers: int, flags: Sequence[str], lacking: Sequence["np.ndarray"]) -> int:
    """Has several processes write; exit status 0, or that of the one that ended first: it has said why."""
    from torch.multiprocessing import ProcessExitedException, spawn

    from fairseq_kd.data.cache.files import HASHED

    # It warns of each of the others that it ends then.
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)
    with _unheard(OF_TERMINALS):
        writing = spawn(_work, (workers, flags, lacking, HASHED), workers, join=False, daemon=True)
    try:
        while not writing.join():
            pass
    except ProcessExitedException as ended:
        if ended.signal_name is None:
            return ended.exit_code
        print(
            f"Cannot go on: one of --workers {workers} was ended by {ended.signal_name}, perhaps for want of memory: the "
            "same command, with fewer of them, goes on from there.",
            file=sys.stderr,
        )
        return 1
    finally:
        _end([process for process in writing.processes if process.is_alive()])
    return 0


def _end(processes: Iterable["BaseProcess"]) -> None:
    """Ends them as Ctrl-C does, so that they clean up behind them; where they take no notice, less gently."""
    for process in processes:
        os.kill(process.pid, signal.SIGINT)
    deadline = time.monotonic() + PATIENCE
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        process.terminate()
        process.join()


@contextlib.contextmanager
def _unheard(signals: set[int]) -> Iterator[None]:
    """Lets signals wait, also in processes that are begun meanwhile: until they are ready to end without a traceback."""
    if not hasattr(signal, "pthread_sigmask"):  # outside Unix
        yield
        return
    resource_tracker.ensure_running()  # begun with the first process, it would have them heard again
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)


def _work(
    rank: int, workers: int, flags: Sequence[str], lacking: Sequence["np.ndarray"], hashed: Mapping
) -> None:
    """One of several processes; hashed: what the first one knows of the data."""
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, OF_TERMINALS)
    import torch

    from fairseq_kd.data.cache.files import HASHED

    HASHED.update(hashed)
    logging.disable(logging.INFO)
    torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    _write(_splits(flags), lacking, rank, workers)


def _interrupt(*_) -> None:
    """Once: both the terminal and the first process may say so, the later while this one cleans up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _write(splits: Iterable["Split"], lacking: Iterable["np.ndarray"], rank: int, workers: int) -> None:
    """Writes the rows that each split lacks, of every `workers` of them one."""
    told = time.monotonic()
    for part, rows in zip(splits, lacking, strict=True):
        dataset = part.dataset
        # Batches of like length, for little padding; the longest first, so that too little memory is found out at once.
        own = rows[dataset.sizes[rows].argsort(kind="stable")[::-1]][rank::workers]
        done = 0
        for batch in dataset.batch_by_size(own, part.max_tokens, part.batch_size):
            part.teacher.store(part.moved(dataset.collater([dataset[int(row)] for row in batch]), rank))
            done += len(batch)
            if rank == 0 and time.monotonic() - told > EVERY_SECONDS:
                told = time.monotonic()
                print(f"  {part.name}: {workers * done:,} of {len(rows):,} rows", flush=True)


@dataclass(frozen=True)
class Split:
    """A split, or a shard of one, that the training reads.

    batch_size, max_tokens  sentences, and tokens with padding, that the teacher is asked about at a time; the latter
                            None for any number
    """

    name: str
    dataset: "SequenceDataset"
    teacher: "CachedTeacher"
    batch_size: int
    max_tokens: int | None
    cpu: bool

    def moved(self, sample: dict[str, Any], rank: int) -> dict[str, Any]:
        """A batch where the teacher runs: on a GPU of this process's own, as far as there are enough."""
        import torch
        from fairseq.utils import move_to_cuda

        if self.cpu or not torch.cuda.is_available():
            return sample
        return move_to_cuda(sample, torch.device("cuda", rank % torch.cuda.device_count()))


def _splits(flags: Sequence[str]) -> Iterator[Split]:
    """All that the training with these flags reads."""
    import fairseq_kd  # noqa: F401
    from fairseq_kd.errors import CannotStart
    from fairseq_kd.tasks.build import build_parts, read_config

    cfg = read_config(flags)
    if cfg.task.get("teacher_cache") is None:
        raise CannotStart("there is no --teacher-cache behind --: give the folder in which to store.")
    if cfg.task.get("teacher") is None:
        raise CannotStart("there is no --teacher behind --: give the model whose signals are to be stored.")

    task, _, _ = build_parts(cfg)
    if task.teacher is None:
        raise CannotStart(
            f"--criterion {cfg.criterion._name} with these weights uses no teacher, so there is nothing to store: give "
            "other weights behind --."
        )
    # As fairseq's trainer does: the parts of a training split are joined, those of others are not, unless that is asked.
    training = [(cfg.dataset.train_subset, epoch, True) for epoch in range(1, task.shards + 1)]
    validation = [(name, 1, False) for name in cfg.dataset.valid_subset.split(",")]
    if cfg.dataset.combine_valid_subsets:
        validation = [("valid", 1, True)]
    for name, epoch, combine in [*training, *validation]:
        dataset = task.load_dataset(name, epoch=epoch, combine=combine)
        longest, most = int(dataset.sizes.max()), cfg.dataset.max_tokens
        if most is not None and longest > most:
            raise CannotStart(
                f"--max-tokens {most} is less than the {longest} of one example of {name}: give more."
            )
        place = dataset.cached.folder.name
        yield Split(place, dataset, task.teacher, cfg.dataset.batch_size, most, cfg.common.cpu)


def _parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "--workers",
        type=positive,
        default=1,
        metavar="N",
        help="processes that write at a time; on GPUs, one each (default: 1)",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say how many bytes would be taken, of each split and in all, and write nothing (default: write)",
    )
    parser.add_argument("--cpu", action="store_true", help="use no GPU (default: those there are)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
