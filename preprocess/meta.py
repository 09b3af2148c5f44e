"""meta.json: what a folder of binarized data holds and what it was made from."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import rows
from .encoders import Encoder
from .sources import Source
from .tasks import Task
from .vocabulary import symbols_hash

FORMAT = 1
NAME = "meta.json"


@dataclass(frozen=True)
class Options:
    """What else decides the result; `seed` only where something is chosen at random."""

    max_positions: int = 512
    limit_train: int | None = None
    split_dev: float | None = None
    seed: int = 1
    strict: bool = False


def describe(
    task: Task, encoder: Encoder, options: Options, sources: dict[str, Source], splits: dict[str, dict]
) -> dict:
    """The content of meta.json; `splits` says for each what was kept, dropped and cut."""
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
        "score_scale": rows.TOP_SCORE if task.regression else None,
        "options": asdict(options),
        "made_from": fingerprint(task, encoder, options, sources),
    }


def fingerprint(task: Task, encoder: Encoder, options: Options, sources: dict[str, Source]) -> str:
    """One hash over all inputs: two folders with the same one hold the same data."""
    inputs = {
        "format": FORMAT,
        "task": task.name,
        "encoder": encoder.hash,
        "options": deciding(options),
        "sources": {split: source.sha256 for split, source in sources.items()},
    }
    if task.pairs:
        inputs["truncation"] = "longest_first"
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def deciding(options: Options) -> dict[str, Any]:
    """Those that make a difference."""
    decide = asdict(options)
    del decide["strict"]  # stops, or changes nothing
    if options.limit_train is None and options.split_dev is None:
        del decide["seed"]
    return decide


def differences(found: Mapping[str, Any], encoder: Encoder, decide: Mapping[str, Any]) -> str:
    """In what a folder was made otherwise, as far as its encoder and options tell; empty where both are the same.

    found   what it says of itself
    decide  the options that are given now
    """
    before = found.get("options", {})
    told = [
        f"--{name.replace('_', '-')} {_given(before[name])}, now {_given(value)}"
        for name, value in decide.items()
        if name in before and before[name] != value
    ]
    if found.get("encoder", {}).get("hash") != encoder.hash:
        told.insert(0, "with another encoder")
    return "; ".join(told)


def _given(value: Any) -> str:
    return "left out" if value is None else str(value)


def write(folder: Path, meta: dict) -> None:
    text = json.dumps(meta, indent=2, ensure_ascii=False)
    (folder / NAME).write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> dict | None:
    """The folder's meta.json, or None where there is none that can be read."""
    try:
        return json.loads((folder / NAME).read_bytes())
    except (OSError, ValueError):
        return None
