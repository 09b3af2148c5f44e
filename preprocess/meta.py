"""meta.json: what a folder of binarized data holds and what it was made from."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

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
    decide = asdict(options)
    del decide["strict"]  # stops, or changes nothing
    if options.limit_train is None and options.split_dev is None:
        del decide["seed"]
    inputs = {
        "format": FORMAT,
        "task": task.name,
        "encoder": encoder.hash,
        "options": decide,
        "sources": {split: source.sha256 for split, source in sources.items()},
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def write(folder: Path, meta: dict) -> None:
    text = json.dumps(meta, indent=2, ensure_ascii=False)
    (folder / NAME).write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> dict | None:
    """The folder's meta.json, or None where there is none that can be read."""
    try:
        return json.loads((folder / NAME).read_bytes())
    except (OSError, ValueError):
        return None
