"""Fills a teacher cache before training, from the flags of the training; trains nothing.

    python scripts/cache_teacher.py --workers 2 -- data/MRPC-bin --teacher teachers/MRPC --teacher-cache caches/MRPC \\
        --criterion hsk --hsk-keep 1l_10t_0.1h --init-layers 0,1,2

Arguments after `--` are the flags of the training. Flags that do not affect the teacher may be omitted; the default
task is sentence_prediction_kd, the default model roberta_student. Writes the teacher signals of all splits and shards
to --teacher-cache, in batches of --batch-size (32) and --max-tokens. The same command resumes after an interruption:
valid rows are kept. First prints the required disk space, and starts only if it is free; --dry-run stops after that.
"""

import logging
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import current_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.arguments import Parser, positive, split
from launcher.execution.scheduler import interruptible, say_interrupted
from preprocess.errors import DataError
from preprocess.worker_processes import run

if TYPE_CHECKING:
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

# How worker processes start: a forked one could not use a GPU.
START = "spawn"


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
    batches = [batch for number, part in enumerate(splits) for batch in _missing_batches(number, part)]
    rows = sum(len(numbers) for _, numbers in batches)
    print(f"{rows:,} rows to write", flush=True)
    done, printed = 0, time.monotonic()
    try:
        for written in run(batches, Writer(flags, args.workers, splits), args.workers, START):
            done += written
            if time.monotonic() - printed > EVERY_SECONDS:
                printed = time.monotonic()
                print(f"  {done:,} of {rows:,} rows", flush=True)
    except DataError as error:
        print(f"Cannot continue: {error}", file=sys.stderr)
        return 1
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


def _missing_batches(number: int, part: "Split") -> list[tuple[int, "np.ndarray"]]:
    """Return (number of the split, rows) for each batch of rows to write.

    Batches of similar length have little padding; the longest come first, so that a lack of memory is found at once.
    """
    dataset = part.dataset
    rows = dataset.cached.invalid_rows(dataset)
    rows = rows[dataset.sizes[rows].argsort(kind="stable")[::-1]]
    return [(number, batch) for batch in dataset.batch_by_size(rows, part.max_tokens, part.batch_size)]


class Writer:
    """Stores the teacher's signals of batches; a spawned worker process loads data and teacher itself."""

    def __init__(self, flags: Sequence[str], workers: int, splits: list["Split"]) -> None:
        self.flags, self.workers, self.splits = flags, workers, splits

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "splits": []}

    def __call__(self, batch: tuple[int, "np.ndarray"]) -> int:
        """Store the rows of (number of the split, rows); return their number."""
        if not self.splits:
            import torch

            logging.disable(logging.INFO)
            torch.set_num_threads(max(1, torch.get_num_threads() // self.workers))
            self.splits = list(_splits(self.flags))
        number, rows = batch
        part = self.splits[number]
        part.teacher.store(part.moved(part.dataset.collater([part.dataset[int(row)] for row in rows])))
        return len(rows)


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

    def moved(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Return the batch on the teacher's device; worker processes are distributed over the GPUs."""
        import torch
        from fairseq.utils import move_to_cuda

        if self.cpu or not torch.cuda.is_available():
            return sample
        number = sum(current_process()._identity)  # 1, 2, .. of a worker process, 0 of the main process
        return move_to_cuda(sample, torch.device("cuda", number % torch.cuda.device_count()))


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
