"""Fills a teacher cache before training, from the flags of the training; trains nothing.

    python scripts/cache_teacher.py --workers 2 -- data/MRPC-bin --teacher teachers/MRPC --teacher-cache caches/MRPC \\
        --criterion hsk --hsk-keep 1l_10t_0.1h --init-layers 0,1,2

Arguments after `--` are the flags of the training. Flags that do not affect the teacher may be omitted; the default
task is sentence_prediction_kd, the default model roberta_student. Writes the teacher signals of all splits and shards
to --teacher-cache, in batches of --batch-size (32) and --max-tokens. The same command resumes after an interruption:
valid rows are kept. First prints the required disk space, and starts only if it is free; --dry-run stops after that.
"""

import logging
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.arguments import Parser, positive, split
from launcher.execution.scheduler import interruptible, say_interrupted
from launcher.execution.slots import PATIENCE

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
    # Unused here, but the config check requires a metric that is logged.
    *("--best-checkpoint-metric", "loss"),
]
EVERY_SECONDS = 10

# Exit status of a worker that cleaned up after a signal -> name of the signal.
STOPPED = {128 + number: number.name for number in (signal.SIGINT, signal.SIGTERM)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill the cache and return the exit status: 0 all is stored, 1 failed, 130 interrupted."""
    own, flags = split(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    args = parser.parse_args(own)
    if not flags:
        parser.error("the flags of the training are missing: give them after --")
    # Defaults first, because the last value counts if a flag occurs twice.
    flags = [*DEFAULTS, *(["--cpu"] if args.cpu else []), *flags]

    try:
        with interruptible():
            return store(args, flags)
    except KeyboardInterrupt:
        return say_interrupted()


def store(args: Namespace, flags: Sequence[str]) -> int:
    """Store the teacher signals for a training with these flags; return the exit status."""
    # One process creates the files and checks the flags; worker processes then only write.
    began = time.monotonic()
    splits = list(_splits(flags))
    teacher = splits[0].teacher
    _print_sizes(teacher.missing_bytes(), teacher.folder)
    if args.dry_run:
        return 0

    teacher.allocate()
    missing = [part.dataset.cached.invalid_rows(part.dataset) for part in splits]
    rows = sum(map(len, missing))
    print(f"{rows:,} rows to write", flush=True)
    if rows and args.workers > 1:
        status = _spawn(args.workers, flags, missing)
        if status:
            return status
    elif rows:
        _write(splits, missing, 0, 1)
    print(f"{rows:,} rows written in {time.monotonic() - began:.0f} s", flush=True)
    return 0


def _print_sizes(sizes: Mapping[str, int], folder: Path) -> None:
    """Print the required disk space of each split and of all, and the free space."""
    from fairseq_kd.data.cache.allocation import format_bytes, free_bytes

    for name, size in sizes.items():
        print(f"  {name}: {size:,} bytes")
    total = sum(sizes.values())
    print(
        f"{total:,} bytes required ({format_bytes(total)}), {format_bytes(free_bytes(folder))} free",
        flush=True,
    )


def _spawn(workers: int, flags: Sequence[str], missing: Sequence["np.ndarray"]) -> int:
    """Write with several processes; return 0, or the exit status of the first failed process, which printed why."""
    from torch.multiprocessing import ProcessExitedException, spawn

    # Suppress a warning for each process that is terminated after the first failure.
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)
    # New processes ignore Ctrl-C until `_work`, so that they print no traceback.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stoppable = handler != signal.SIG_IGN
        writing = spawn(_work, (workers, flags, missing, stoppable), workers, join=False, daemon=True)
    finally:
        signal.signal(signal.SIGINT, handler)
    try:
        while not writing.join():
            pass
    except ProcessExitedException as ended:
        name = ended.signal_name or STOPPED.get(ended.exit_code)
        if name is None:
            return ended.exit_code
        print(
            f"Cannot continue: one of --workers {workers} was killed by {name}, perhaps because memory ran out: "
            "run the same command with fewer --workers to continue.",
            file=sys.stderr,
        )
        return 1
    finally:
        _end(writing.processes)
    return 0


def _end(processes: Sequence["BaseProcess"]) -> None:
    """Terminate the processes, so that they clean up; kill those that do not end in time."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + PATIENCE
    try:
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
    finally:  # also after another Ctrl-C
        for process in processes:
            process.kill()


def _work(
    rank: int, workers: int, flags: Sequence[str], missing: Sequence["np.ndarray"], stoppable: bool
) -> None:
    """Run a worker process; `stoppable` is False if the first process ignores Ctrl-C."""
    signal.signal(signal.SIGTERM, _stop)
    if stoppable:
        signal.signal(signal.SIGINT, _stop)
    import torch

    logging.disable(logging.INFO)
    torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    _write(_splits(flags), missing, rank, workers)


def _stop(number: int, _: Any) -> None:
    """Exit with a status of STOPPED, once: another signal may arrive while the process cleans up.

    After KeyboardInterrupt, torch would exit with status 0, as if all rows were written.
    """
    for each in (signal.SIGINT, signal.SIGTERM):
        # Not SIG_IGN: Python would print an error for a signal that has already arrived.
        signal.signal(each, lambda *_: None)
    sys.exit(128 + number)


def _write(splits: Iterable["Split"], missing: Iterable["np.ndarray"], rank: int, workers: int) -> None:
    """Write every `workers`-th missing row of each split."""
    printed = time.monotonic()
    for part, rows in zip(splits, missing, strict=True):
        dataset = part.dataset
        # Batches of similar length have little padding; the longest come first, so that a lack of memory is found at once.
        own = rows[dataset.sizes[rows].argsort(kind="stable")[::-1]][rank::workers]
        done = 0
        for batch in dataset.batch_by_size(own, part.max_tokens, part.batch_size):
            part.teacher.store(part.moved(dataset.collater([dataset[int(row)] for row in batch]), rank))
            done += len(batch)
            if rank == 0 and time.monotonic() - printed > EVERY_SECONDS:
                printed = time.monotonic()
                print(f"  {part.name}: {workers * done:,} of {len(rows):,} rows", flush=True)


@dataclass(frozen=True)
class Split:
    """A split, or a shard of a split, that the training reads.

    batch_size  maximum sentences of a teacher batch
    max_tokens  maximum tokens of a teacher batch, including padding; None for no limit
    """

    name: str
    dataset: "SequenceDataset"
    teacher: "CachedTeacher"
    batch_size: int
    max_tokens: int | None
    cpu: bool

    def moved(self, sample: dict[str, Any], rank: int) -> dict[str, Any]:
        """Return the batch on the teacher's device; processes are distributed over the GPUs."""
        import torch
        from fairseq.utils import move_to_cuda

        if self.cpu or not torch.cuda.is_available():
            return sample
        return move_to_cuda(sample, torch.device("cuda", rank % torch.cuda.device_count()))


def _splits(flags: Sequence[str]) -> Iterator[Split]:
    """Yield all splits and shards that a training with these flags reads. Raises CannotStart for invalid flags."""
    import fairseq_kd  # noqa: F401
    from fairseq_kd.errors import CannotStart
    from fairseq_kd.tasks.build import build_parts, read_config

    cfg = read_config(flags)
    if cfg.task.get("teacher_cache") is None:
        raise CannotStart("--teacher-cache is missing after --: give the folder of the cache.")
    if cfg.task.get("teacher") is None:
        raise CannotStart("--teacher is missing after --: give the model whose signals to store.")

    task, _, _ = build_parts(cfg)
    if task.teacher is None:
        raise CannotStart(
            f"--criterion {cfg.criterion._name} with these weights uses no teacher, so there is nothing to store: give "
            "other weights after --."
        )
    # As in fairseq's trainer: parts of the training split are combined, parts of others only with --combine-valid-subsets.
    training = [(cfg.dataset.train_subset, epoch, True) for epoch in range(1, task.shards + 1)]
    validation = [(name, 1, False) for name in cfg.dataset.valid_subset.split(",")]
    if cfg.dataset.combine_valid_subsets:
        validation = [("valid", 1, True)]
    for name, epoch, combine in [*training, *validation]:
        dataset = task.load_dataset(name, epoch=epoch, combine=combine)
        longest, most = int(dataset.sizes.max()), cfg.dataset.max_tokens
        if most is not None and longest > most:
            raise CannotStart(
                f"--max-tokens {most} is less than the {longest} tokens of an example of {name}: give a larger number."
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
        help="number of processes that write; distributed over the GPUs (default: 1)",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the required bytes of each split and in total, and write nothing (default: write)",
    )
    parser.add_argument("--cpu", action="store_true", help="use no GPU (default: all GPUs)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
