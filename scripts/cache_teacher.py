"""Stores a teacher's signals before any training that learns from them: the same command, but nothing is trained.

    python scripts/cache_teacher.py --workers 2 -- data/MRPC-bin --teacher teachers/MRPC --teacher-cache caches/MRPC \\
        --criterion hsk --hsk-keep 1l_10t_0.1h --init-layers 0,1,2

What follows `--` are the flags of the training, of which those that have no bearing on the teacher may be left out
(the task is sentence_prediction_kd, the model roberta_student). Writes into --teacher-cache what that training asks
of the teacher, for all its splits and shards. Interrupted or killed, it goes on from where it was; what is there
already is left alone. It says first how much room it takes, and starts only where that is free.
"""

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from launcher.arguments import Parser, positive, split

if TYPE_CHECKING:
    from fairseq_kd.data.sequences import SequenceDataset
    from fairseq_kd.teachers.cached import CachedTeacher

DEFAULTS = {
    "--task": "sentence_prediction_kd",
    "--arch": "roberta_student",
    "--criterion": "kd",
    "--batch-size": "32",
    # Nothing is trained, and no checkpoint chosen by it; but it has to be one that is logged.
    "--best-checkpoint-metric": "loss",
}
EVERY_SECONDS = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 all is stored; what prevents that ends the program with a sentence."""
    own, flags = split(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    args = parser.parse_args(own)
    if not flags:
        parser.error("there is no training: give its flags after --")
    flags += [word for name, value in DEFAULTS.items() if not _given(name, flags) for word in (name, value)]
    flags += ["--cpu"] if args.cpu and "--cpu" not in flags else []

    # One process makes the files and finds out what is wrong; others then only write.
    began = time.monotonic()
    splits = list(_splits(flags))
    rows = _rows(splits)
    print(f"{rows:,} rows to write", flush=True)
    if rows and args.workers > 1:
        import torch.multiprocessing

        torch.multiprocessing.spawn(_work, (args.workers, flags), args.workers)
    elif rows:
        _write(splits, 0, 1)
    print(f"{rows - _rows(splits):,} rows written in {time.monotonic() - began:.0f} s", flush=True)
    return 0


def _work(rank: int, workers: int, flags: Sequence[str]) -> None:
    """One of several processes."""
    import torch

    logging.disable(logging.INFO)
    torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    _write(_splits(flags), rank, workers)


def _write(splits: Iterable["Split"], rank: int, workers: int) -> None:
    """Writes what is not there, of every `workers` rows one."""
    import numpy as np

    told = time.monotonic()
    for part in splits:
        dataset = part.dataset
        # Batches of like length, for little padding; the longest first, so that too little memory is found out at once.
        order = dataset.sizes.argsort(kind="stable")[::-1]
        # Shared out before anyone looks what is there: others are writing already.
        own = order[rank::workers]
        own = own[np.isin(own, dataset.cached.unwritten())]
        for start in range(0, len(own), part.batch_size):
            rows = own[start : start + part.batch_size]
            part.teacher.store(part.moved(dataset.collater([dataset[int(row)] for row in rows]), rank))
            if rank == 0 and time.monotonic() - told > EVERY_SECONDS:
                told = time.monotonic()
                print(f"  {part.name}: {workers * start:,} of {workers * len(own):,} rows", flush=True)


@dataclass(frozen=True)
class Split:
    """A split, or a shard of one, that the training reads.

    batch_size  sentences that the teacher is asked about at a time
    """

    name: str
    dataset: "SequenceDataset"
    teacher: "CachedTeacher"
    batch_size: int
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
    from fairseq_kd.tasks.from_flags import build_parts, read_config
    from fairseq_kd.teachers.cached import CachedTeacher

    cfg = read_config(flags)
    if cfg.task.get("teacher_cache") is None:
        raise CannotStart("there is no --teacher-cache behind --: give the folder in which to store.")

    task, _, criterion = build_parts(cfg)
    if not isinstance(task.teacher, CachedTeacher):
        raise CannotStart(
            f"--criterion {criterion.cfg._name} with these weights asks a teacher for nothing: give others."
        )

    # As fairseq's trainer does: the parts of a training split are joined, those of others are not.
    training = [(cfg.dataset.train_subset, epoch, True) for epoch in range(1, task.shards + 1)]
    validation = [(name, 1, False) for name in cfg.dataset.valid_subset.split(",")]
    for name, epoch, combine in [*training, *validation]:
        dataset = task.load_dataset(name, epoch=epoch, combine=combine)
        yield Split(dataset.cached.folder.name, dataset, task.teacher, cfg.dataset.batch_size, cfg.common.cpu)


def _rows(splits: Sequence[Split]) -> int:
    """How many rows are not there yet."""
    return sum(len(part.dataset.cached.unwritten()) for part in splits)


def _given(name: str, flags: Sequence[str]) -> bool:
    return any(flag.partition("=")[0] == name for flag in flags)


def _parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "--workers",
        type=positive,
        default=1,
        metavar="N",
        help="processes that write at a time; on GPUs, one each (default: 1)",
    )
    parser.add_argument("--cpu", action="store_true", help="use no GPU (default: those there are)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
