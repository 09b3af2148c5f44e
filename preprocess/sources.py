"""Finds the file of each split in folders of GLUE, SNLI and Hugging Face."""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .errors import DataError
from .tasks import TASKS, Task

ENDINGS = ["tsv", "jsonl", "json", "txt", "parquet", "arrow"]  # in order of preference
FLAGS = {"train": "--train-file", "valid": "--dev-file", "test": "--test-file"}


@dataclass(frozen=True)
class Source:
    """File of a split, or its shards in order."""

    paths: tuple[Path, ...]

    @cached_property
    def contents(self) -> list[bytes]:
        """Bytes of each file."""
        return [path.read_bytes() for path in self.paths]

    @cached_property
    def sha256(self) -> str:
        """Hash of the bytes of all files, in order."""
        whole = hashlib.sha256()
        for content in self.contents:
            whole.update(content)
        return whole.hexdigest()

    @property
    def names(self) -> str:
        """File names, for messages and meta.json."""
        return ", ".join(path.name for path in self.paths)


def find_sources(
    task: Task, glue_dir: Path | None, given: dict[str, Path], only: list[str], split_dev: bool = False
) -> dict[str, Source]:
    """Return the source of each split of `task`, in the task's order.

    given      files given by flags; other splits are then optional
    only       splits to create, which must exist; [] = all
    split_dev  whether the dev set is taken from the training file; a dev file is then an error

    Raises DataError if a file is missing.
    """
    _check_given(task, given, only)
    folder = _folder(task, glue_dir) if glue_dir else None

    sources = {}
    for split in only or task.files:
        if split in given:
            sources[split] = Source((given[split],))
            continue

        paths = _search(folder, task.files[split]) if folder else []
        if paths:
            sources[split] = Source(tuple(paths))
        elif split_dev and split.startswith("valid"):
            continue
        elif split in only or (split in task.needed and not given):
            raise DataError(_not_found(task, split, folder, glue_dir))

    if split_dev:
        _check_split_dev(task, sources)
    elif "train" in sources and "valid" not in sources and not only:
        raise DataError(_not_found(task, "valid", folder, glue_dir))
    return sources


def _check_given(task: Task, given: dict[str, Path], only: list[str]) -> None:
    for split, path in given.items():
        if split not in task.files:
            raise DataError(f"{_flag(split)} {path}: {task.name} has no {split} split: remove the flag.")
        if not path.is_file():
            raise DataError(f"{_flag(split)} {path} is not a file: correct the path.")
    unknown = [split for split in only if split not in task.files]
    if unknown:
        raise DataError(
            f"--splits {','.join(only)}: {task.name} has no split {unknown[0]}: "
            f"choose from {', '.join(task.files)}."
        )


def _check_split_dev(task: Task, sources: dict[str, Source]) -> None:
    if "train" not in sources:
        raise DataError(f"--split-dev: {task.name} has no training file: remove the flag.")
    if "valid" in sources:
        raise DataError(
            f"--split-dev: {task.name} has the dev file {sources['valid'].paths[0]}: "
            "remove the flag, or leave the file out with --splits train."
        )


def tasks_in(glue_dir: Path) -> list[Task]:
    """Return the tasks that have a folder in `glue_dir`. Raises DataError if there is none."""
    found = [task for task in TASKS.values() if _folder(task, glue_dir)]
    if not found:
        raise DataError(
            f"--glue-dir {glue_dir} has no folder of a known task ({', '.join(TASKS)}): "
            "give the folder that has them (scripts/download_glue.sh creates one)."
        )
    return found


def _folder(task: Task, glue_dir: Path) -> Path | None:
    names = {name.lower() for name in (task.name, task.name.replace("-", ""), *task.folders)}
    found = [path for path in sorted(glue_dir.iterdir()) if path.name.lower() in names and path.is_dir()]
    return found[0] if found else None


def _search(folder: Path, stems: tuple[str, ...]) -> list[Path]:
    """Return the file or shards of a split: train.tsv, snli_1.0_train.jsonl, train-00000-of-00002.parquet."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    relative = {path: path.relative_to(folder).as_posix() for path in files}

    for stem in stems:
        # Exact name first, then with a prefix, then shards: here or in a folder named after the split.
        patterns = [
            rf"{stem}",
            rf"[^/]*[-_.]{stem}",
            rf"(data/)?{stem}-\d+-of-\d+",
            rf"{stem}/[^/]*-\d+-of-\d+",
        ]
        for pattern in patterns:
            for ending in ENDINGS:
                whole = re.compile(rf"{pattern}\.{ending}", re.IGNORECASE)
                found = [path for path in files if whole.fullmatch(relative[path])]
                if found:
                    return found
    return []


def _not_found(task: Task, split: str, folder: Path | None, glue_dir: Path | None) -> str:
    if folder is None and glue_dir is not None:
        return (
            f"--glue-dir {glue_dir} has no folder {task.name}: download the task (scripts/download_glue.sh), "
            "correct the path, or remove the task from --tasks."
        )

    where = f"{folder} has" if folder else f"{task.name} has"
    wanted = " or ".join(f"{stem}.tsv" for stem in task.files[split])
    others = ",".join(other for other in task.files if other != split)
    dev = " or --split-dev" if split == "valid" else ""
    return (
        f"{where} no {split} split ({wanted}, or .jsonl, .parquet, .arrow): add the file, give it with {_flag(split)}{dev}, "
        f"or create only others with --splits {others}."
    )


def _flag(split: str) -> str:
    return FLAGS.get(split, f"--splits {split}")
