"""Parses `--models` and `--pass_dic`: checkpoints that students are initialised from."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import read_yaml
from .models import ALL_LAYERS, CHECKPOINT_NAMES, file_fingerprint, find_checkpoint

FORMAT = (
    "a list of checkpoints and run folders, or a mapping of a name, such as a method, to one, or to a list of one for each "
    "seed"
)
NAME = re.compile(r"[\w.+-]+")
NAMED = re.compile(r"([\w.+-]+)=(.+)")
LAYERS = re.compile(r"(.+)@(\d+(?:,\d+)*|all|random:[1-9]\d*)")


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


def read_list(path: Path, flag: str, methods: Sequence[str] = (), mapping: str = "") -> tuple[Entry, ...]:
    """Return the models that the JSON or YAML file lists; raise ValueError if the file is invalid.

    methods  names to take, all of which must be listed; empty for all
    mapping  added to all names, so that tables distinguish models of several mappings
    """
    listed = read_yaml(path, flag)
    if _are_paths(listed):
        named = [(None, path, None) for path in listed]
    elif isinstance(listed, dict) and all(isinstance(of, str) or _are_paths(of) for of in listed.values()):
        named = [model for name, of in listed.items() for model in _named_models(str(name), of)]
    else:
        raise ValueError(f"{flag} {path} holds something else: give {FORMAT}")
    if not named:
        raise ValueError(f"{flag} {path} lists nothing: give {FORMAT}")

    names = dict.fromkeys(name for name, _, _ in named if name is not None)
    for name in names:
        if not NAME.fullmatch(name):
            raise ValueError(f"{flag} {path} has the name {name!r}: use letters, digits and . _ + - alone")
    for method in methods:
        if method not in names:
            there = ", ".join(names) or "no names"
            raise ValueError(
                f"{flag} {path} has {there}, and nothing for --method {method}: add it, or correct one"
            )
    chosen = [(name, path, place) for name, path, place in named if not methods or name in methods]
    label = f"-{_written(mapping)}" if mapping else ""
    return tuple(_entry(name, path, flag, place, label) for name, path, place in chosen)


def _are_paths(listed: Any) -> bool:
    return isinstance(listed, list) and all(isinstance(path, str) for path in listed)


def _named_models(name: str, of: str | list[str]) -> list[tuple[str, str, int | None]]:
    if isinstance(of, str):
        return [(name, of, None)]
    return [(name, path, place) for place, path in enumerate(of)]


def seeds_for(entries: Sequence[Entry], seeds: Sequence[int] | None) -> Sequence[int] | None:
    """Return the given seeds, else one for each model of a list, from 1; None without a list.

    Raises ValueError if a list has more or fewer models than there are seeds.
    """
    counts: dict[str, int] = {}
    for entry in entries:
        if entry.place is not None:
            counts[entry.name] = entry.place + 1
    if seeds is None and counts:
        seeds = range(1, 1 + next(iter(counts.values())))
    for name, count in counts.items():
        if count != len(seeds):
            raise ValueError(
                f"--pass_dic lists {count} checkpoint{'s' * (count != 1)} for {name}, one for each seed, and there "
                f"{'is 1 seed' if len(seeds) == 1 else f'are {len(seeds)} seeds'} ({','.join(map(str, seeds))}): "
                "list as many, or change --seeds"
            )
    return seeds


def read_words(words: Sequence[str], flag: str) -> tuple[Entry, ...]:
    """Parse the models of a command line, each a path or NAME=PATH."""
    named = (NAMED.fullmatch(word) for word in words)
    pairs = (match.groups() if match else (None, word) for match, word in zip(named, words, strict=True))
    return tuple(_entry(name, text, flag) for name, text in pairs)


def check_names(entries: Sequence[Entry]) -> None:
    """Raise ValueError if two models have the same name."""
    names = [entry.name for entry in entries if not entry.place]
    for entry in entries:
        if names.count(entry.name) > 1:
            raise ValueError(
                f"{entry.flag} lists two models named {entry.name}: give them names of your own (NAME=PATH with --models, "
                "a mapping in a file)"
            )


def _entry(name: str | None, text: str, flag: str, place: int | None = None, label: str = "") -> Entry:
    cut = LAYERS.fullmatch(text)
    path, layers = cut.groups() if cut else (text, ALL_LAYERS)
    if text.endswith("@random"):
        raise ValueError(
            f"{flag} {text} says nothing of the student's depth: write @random:3 for one of 3 layers"
        )
    return Entry((name or _named(path, layers)) + label, path, layers, flag, place)


def _named(path: str, layers: str) -> str:
    """Return a name made of the run directory or file, and of the layers."""
    place = Path(path)
    own = place.name.removesuffix(".pt")
    if place.name in CHECKPOINT_NAMES and place.parent.name:
        own = place.parent.name
    elif own.startswith("checkpoint_") and place.parent.name:
        own = f"{place.parent.name}-{own.removeprefix('checkpoint_')}"
    return own if layers == ALL_LAYERS else f"{own}-{_written(layers)}"


def _written(text: str) -> str:
    """Return layers or pairs in a form that is valid in a name."""
    return text.replace(",", "_").replace(":", ".")


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
            raise ValueError(f"{flags} lists no model of {task}: add one, or leave out --task {task}")
        _check_lists(entries, found[task], task)
    return found


def _check_lists(entries: Sequence[Entry], found: Sequence[Listed], task: str) -> None:
    """Raise ValueError if only part of a list with one model for each seed is of this task."""
    for name, flag in dict.fromkeys((entry.name, entry.flag) for entry in entries if entry.place is not None):
        listed = sum(entry.name == name for entry in entries)
        there = sum(model.name == name for model in found)
        if 0 < there < listed:
            raise ValueError(
                f"{flag} lists {listed} checkpoints for {name}, of which {there} {'is' if there == 1 else 'are'} of {task}: "
                f"list those of one task, or leave out --task {task}"
            )


def _task_of(checkpoint: Path) -> str | None:
    """Return the task of the run that made a checkpoint; None if no run did."""
    try:
        return json.loads((checkpoint.parent / "spec.json").read_text("utf-8"))["task"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
