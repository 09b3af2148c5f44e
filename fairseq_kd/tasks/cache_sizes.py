"""Computes what a teacher cache of fairseq-train commands would store, without training.

    python -m fairseq_kd.tasks.cache_sizes < COMMANDS

COMMANDS  a JSON list of commands, each a list of arguments without the program's name

Prints a JSON list with one object per command: the bytes of each file, named SPLIT/RECORD. Commands of one data folder
that name the same file share it. The object is empty if the command cannot start, or uses no teacher.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..errors import CannotStart
from ..teachers.cached import CachedTeacher
from .build import build_parts, read_config


def cache_sizes(flags: Sequence[str]) -> dict[str, int]:
    """Return the bytes of each file of the cache, of the training split (its first shard) and the validation splits."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            cfg = read_config([*flags, "--teacher-cache", str(Path(folder, "cache"))])
            task, _, _ = build_parts(cfg)
            if not isinstance(task.teacher, CachedTeacher):
                return {}
            task.load_dataset(cfg.dataset.train_subset, combine=True)
            for split in cfg.dataset.valid_subset.split(","):
                task.load_dataset(split)
        except CannotStart:
            return {}
        return {
            f"{split}/{name}": size
            for split, rows in task.teacher.splits.items()
            for name, size in rows.missing_sizes().items()
        }


if __name__ == "__main__":
    print(json.dumps([cache_sizes(flags) for flags in json.load(sys.stdin)]))
