"""Reads and writes meta.json: contents, settings and input files of a folder of binarized data."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .atomic_folder import atomic_file
from .encoders import Encoder
from .rows import UNLABELLED
from .sources import Source
from .tasks import TASKS, Task
from .vocabulary import symbols_hash

FORMAT = 1
NAME = "meta.json"


@dataclass(frozen=True)
class Options:
    """Settings that determine the result; `seed` matters only for --limit-train and --split-dev.

    duplicates  keep or drop rows that occur twice in the training set, and report them; None = do not look for them
    """

    max_positions: int = 512
    limit_train: int | None = None
    split_dev: float | None = None
    seed: int = 1
    strict: bool = False
    keep_unlabelled: bool = False
    split_test: float | None = None
    duplicates: str | None = None


def describe(
    task: Task, encoder: Encoder, options: Options, sources: dict[str, Source], splits: dict[str, dict]
) -> dict:
    """Return the content of meta.json; `splits` has the numbers of kept, dropped and truncated rows."""
    return {
        "format": FORMAT,
        "task": task.name,
        "num_classes": task.num_classes,
        "regression": task.regression,
        "labels": list(task.labels),
        "metric": task.metric,
        "pairs": task.pairs,
        "pair_format": encoder.pair_format,
        "max_positions": options.max_positions,
        "encoder": {"name": encoder.name, "lowercase": encoder.lowercase, "hash": encoder.hash},
        "dictionary_hash": symbols_hash(encoder.symbols),
        "splits": splits,
        "score_scale": task.score_scale if task.regression else None,
        "options": asdict(options),
        "made_from": inputs_hash(task, encoder, options, sources),
    }


def inputs_hash(task: Task, encoder: Encoder, options: Options, sources: dict[str, Source]) -> str:
    """Return a hash of all inputs; two folders with equal hashes have the same data."""
    inputs = {
        "format": FORMAT,
        "task": task.name,
        "encoder": encoder.hash,
        "options": relevant_options(options),
        "sources": {split: source.sha256 for split, source in sources.items()},
    }
    if task.pairs:
        inputs["truncation"] = "longest_first"
    if task.name not in TASKS:
        inputs["columns"] = asdict(task) | {"metric": None}
    # Also the format and the limits of each file; folders of older versions have neither such tasks nor this split.
    inputs["files"] = {
        split: [
            (path.suffix.lower(), len(content))
            for path, content in zip(source.paths, source.contents, strict=True)
        ]
        for split, source in sources.items()
        if task.name not in TASKS or split == UNLABELLED
    }
    if not inputs["files"]:
        del inputs["files"]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def relevant_options(options: Options) -> dict[str, Any]:
    """Return the options that affect the result."""
    relevant = asdict(options)
    del relevant["strict"]  # raises an error or changes nothing
    if options.limit_train is None and options.split_dev is None and options.split_test is None:
        del relevant["seed"]
    # Absent from folders of older versions.
    if not options.keep_unlabelled:
        del relevant["keep_unlabelled"]
    if options.split_test is None:
        del relevant["split_test"]
    if options.duplicates != "drop":
        del relevant["duplicates"]
    return relevant


def differences(found: Mapping[str, Any], encoder: Encoder, options: Mapping[str, Any]) -> str:
    """Return which settings of a folder differ from the current ones; empty if encoder and options are equal.

    found    meta.json of the folder
    options  current options
    """
    before = found.get("options", {})
    changes = [
        f"--{name.replace('_', '-')} {_given(before[name])}, now {_given(value)}"
        for name, value in options.items()
        if name in before and before[name] != value
    ]
    if found.get("encoder", {}).get("hash") != encoder.hash:
        changes.insert(0, "another encoder")
    return "; ".join(changes)


def _given(value: Any) -> str:
    return "not given" if value is None else str(value)


def write(folder: Path, meta: dict) -> None:
    """Write the folder's meta.json."""
    text = json.dumps(meta, indent=2, ensure_ascii=False)
    with atomic_file(folder / NAME) as file:
        file.write(f"{text}\n".encode())


def read(folder: Path) -> dict | None:
    """Return the folder's meta.json; None if it is missing or unreadable."""
    try:
        return json.loads((folder / NAME).read_bytes())
    except (OSError, ValueError):
        return None
