"""Finds checkpoints: of teachers, of pre-trained models and of runs, and those that `--models` and `--pass_dic` list."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import read_yaml

# Checkpoints in a folder: the best one of a run, or a converted model. The plugin uses the same names.
BEST, LAST = "checkpoint_best.pt", "checkpoint_last.pt"
CHECKPOINT_NAMES = (BEST, "model.pt")

# Checkpoints of a first stage that a second stage can start from.
STAGE2_FROM = {"best": BEST, "last": LAST}

# As --init-layers, and in lists of models.
ALL_LAYERS = "all"

CHUNKS, CHUNK = 64, 1 << 16

MODELS_FILE = (
    "a list of checkpoints and run folders, or a mapping of a name, such as a method, to one, or to a list of one for each "
    "seed"
)
NAME = re.compile(r"[\w.+-]+")
NAMED = re.compile(r"([\w.+-]+)=(.+)")
LAYERS = re.compile(r"(.+)@(\d+(?:,\d+)*|all|random:[1-9]\d*)")


class Unfinished(ValueError):
    """The checkpoint exists, but its training has not ended."""


def find_checkpoint(given: Path, flag: str) -> Path:
    """Return the checkpoint in a file or folder; raise ValueError, which quotes `flag`, if it is missing.

    Raises Unfinished for the best checkpoint of an unfinished run, which may be replaced at any moment.
    """
    for candidate in (given, *(given / name for name in CHECKPOINT_NAMES)):
        if candidate.is_file():
            run = candidate.parent
            if (
                candidate.name == BEST
                and (run / "spec.json").is_file()
                and not (run / "result.json").is_file()
            ):
                raise Unfinished(
                    f"{flag} {given} is still being trained, or was interrupted: let its training end, or name a copy of "
                    f"{candidate} to use it as it is"
                )
            return candidate

    found = f"contains neither {' nor '.join(CHECKPOINT_NAMES)}" if given.is_dir() else "does not exist"
    raise ValueError(
        f"{flag} {given} {found}: give a checkpoint, or a folder that has {' or '.join(CHECKPOINT_NAMES)}"
    )


def file_fingerprint(path: Path) -> str:
    """Return a checksum of the size and 64 pieces of a large file, which differ between any two trainings."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        for number in range(CHUNKS):
            file.seek(number * max(0, size - CHUNK) // (CHUNKS - 1))
            digest.update(file.read(CHUNK))
    return digest.hexdigest()


@dataclass(frozen=True)
class Entry:
    """An entry of a list of models.

    path    a checkpoint or a run's folder; {task} stands for the task's name
    layers  layers that the student is initialised from, as in `--init`
    flag    the flag that lists the entry, for messages
    place   index in a list with one model for each seed, from 0; None for a model of all seeds
    """

    name: str
    path: str
    layers: str
    flag: str
    place: int | None = None


@dataclass(frozen=True)
class Listed:
    """A model that was found; `name` is part of the names of its runs, `place` as in Entry."""

    name: str
    checkpoint: Path
    fingerprint: str
    layers: str = ALL_LAYERS
    place: int | None = None


def read_models(words: Sequence[str], flag: str) -> list[Entry]:
    """Parse models, each a path or NAME=PATH; raise ValueError for an invalid one."""
    named = (NAMED.fullmatch(word) for word in words)
    pairs = (match.groups() if match else (None, word) for match, word in zip(named, words, strict=True))
    return [_entry(name, text, flag) for name, text in pairs]


def read_models_file(path: Path, flag: str, methods: Sequence[str] = (), mapping: str = "") -> list[Entry]:
    """Return the models that a JSON or YAML file lists; raise ValueError if the file is invalid.

    methods  names to select, all of which must be listed; empty for all
    mapping  added to all names, so that tables distinguish models of several mappings
    """
    content = read_yaml(path, flag)
    if isinstance(content, list):
        listed: list[tuple[str | None, Any, int | None]] = [(None, text, None) for text in content]
    elif isinstance(content, dict):
        listed = [
            (str(name), text, place)
            for name, of in content.items()
            for place, text in (enumerate(of) if isinstance(of, list) else [(None, of)])
        ]
    else:
        listed = []
    if not listed or not all(isinstance(text, str) for _, text, _ in listed):
        raise ValueError(f"{flag} {path} lists no models: give {MODELS_FILE}")

    there = dict.fromkeys(name for name, _, _ in listed if name is not None)
    for method in methods:
        if method not in there:
            raise ValueError(
                f"{flag} {path} has no entry for --method {method}, only {', '.join(there) or 'paths without names'}: add "
                "it, or correct one"
            )
    label = f"-{_in_a_name(mapping)}" if mapping else ""
    chosen = [each for each in listed if not methods or each[0] in methods]
    return [_entry(name, text, flag, place, label) for name, text, place in chosen]


def check_names(entries: Sequence[Entry]) -> None:
    """Raise ValueError for an invalid name, or if two models have the same name."""
    names = [entry.name for entry in entries if not entry.place]
    for entry in entries:
        if not NAME.fullmatch(entry.name):
            raise ValueError(
                f"{entry.flag} contains the name {entry.name!r}: use letters, digits and . _ + - only"
            )
        if names.count(entry.name) > 1:
            raise ValueError(
                f"{entry.flag} lists two models named {entry.name}: give them names of your own (NAME=PATH with --models, "
                "a mapping in a file)"
            )


def seeds_for(entries: Sequence[Entry], seeds: Sequence[int] | None) -> list[int] | None:
    """Return the given seeds, else one for each model of a list, from 1; None without a list.

    Raises ValueError if a list has more or fewer models than there are seeds.
    """
    counts = {entry.name: entry.place + 1 for entry in entries if entry.place is not None}
    if seeds is None and counts:
        seeds = range(1, 1 + next(iter(counts.values())))
    for name, count in counts.items():
        if count != len(seeds):
            raise ValueError(
                f"--pass_dic lists {count} checkpoints for {name}, one for each seed, and --seeds has {len(seeds)} "
                f"({','.join(map(str, seeds))}): list as many, or change --seeds"
            )
    return None if seeds is None else list(seeds)


def find_models(
    entries: Sequence[Entry], tasks: Sequence[str], own_task_only: bool
) -> dict[str, list[Listed]]:
    """Return the models by task; raise ValueError if a model is missing, or a task has none.

    own_task_only  skip, for each task, models that a run of another task made
    """
    found: dict[str, list[Listed]] = {}
    for task in tasks:
        found[task] = []
        for entry in entries:
            path = Path(entry.path.replace("{task}", task))
            checkpoint = find_checkpoint(path, f"{entry.flag}: {entry.name} =")
            if not own_task_only or _task_of(checkpoint) in (None, task):
                fingerprint = file_fingerprint(checkpoint)
                found[task].append(Listed(entry.name, checkpoint, fingerprint, entry.layers, entry.place))
        if entries and not found[task]:
            flags = " and ".join(dict.fromkeys(entry.flag for entry in entries))
            raise ValueError(f"{flags} lists no model of {task}: add one, or remove --task {task}")
        _check_lists(entries, found[task], task)
    return found


def _entry(name: str | None, text: str, flag: str, place: int | None = None, label: str = "") -> Entry:
    cut = LAYERS.fullmatch(text)
    path, layers = cut.groups() if cut else (text, ALL_LAYERS)
    if text.endswith("@random"):
        raise ValueError(
            f"{flag} {text} does not give the student's depth: write @random:3 for one of 3 layers"
        )
    return Entry((name or _default_name(path, layers)) + label, path, layers, flag, place)


def _default_name(path: str, layers: str) -> str:
    """Return a name made of the run directory or file, and of the layers."""
    place = Path(path)
    own = place.name.removesuffix(".pt")
    if place.name in CHECKPOINT_NAMES and place.parent.name:
        own = place.parent.name
    elif own.startswith("checkpoint_") and place.parent.name:
        own = f"{place.parent.name}-{own.removeprefix('checkpoint_')}"
    return own if layers == ALL_LAYERS else f"{own}-{_in_a_name(layers)}"


def _in_a_name(text: str) -> str:
    """Return layers or pairs in a form that is valid in a name."""
    return text.replace(",", "_").replace(":", ".")


def _check_lists(entries: Sequence[Entry], found: Sequence[Listed], task: str) -> None:
    """Raise ValueError if only part of a list with one model for each seed is of this task."""
    for name, flag in dict.fromkeys((entry.name, entry.flag) for entry in entries if entry.place is not None):
        listed = sum(entry.name == name for entry in entries)
        there = sum(model.name == name for model in found)
        if 0 < there < listed:
            raise ValueError(
                f"{flag} lists {listed} checkpoints for {name}, of which {there} {'is' if there == 1 else 'are'} of {task}: "
                f"list those of one task, or remove --task {task}"
            )


def _task_of(checkpoint: Path) -> str | None:
    """Return the task of the run that made a checkpoint; None if no run did."""
    try:
        return json.loads((checkpoint.parent / "spec.json").read_text("utf-8"))["task"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
