"""Models of the user's, to start students from: `--models`, and `--pass_dic`, a file that lists them."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import places
from .spec import ALL_LAYERS
from .yaml_file import read_yaml

FORMAT = "a list of checkpoints and run folders, or a mapping of a name of your own to each"
NAME = re.compile(r"[\w.+-]+")
NAMED = re.compile(r"([\w.+-]+)=(.+)")
LAYERS = re.compile(r"(.+)@(\d+(?:,\d+)*|all|random:[1-9]\d*)")


@dataclass(frozen=True)
class Entry:
    """A model as it was listed.

    path    a checkpoint or a run's folder; {task} stands for the task's name
    layers  which of its layers a student starts from, as `--init` names them
    flag    what listed it: begins sentences about it
    """

    name: str
    path: str
    layers: str
    flag: str


@dataclass(frozen=True)
class Listed:
    """A model that was found, as it stands in the names of runs."""

    name: str
    checkpoint: Path
    fingerprint: str
    layers: str = ALL_LAYERS


def read_list(path: Path, flag: str) -> tuple[Entry, ...]:
    """The models that the JSON or YAML file lists; ValueError says what is wrong there."""
    listed = read_yaml(path, flag)
    if isinstance(listed, list) and all(isinstance(entry, str) for entry in listed):
        named = [(None, entry) for entry in listed]
    elif isinstance(listed, dict) and all(isinstance(entry, str) for entry in listed.values()):
        named = [(str(name), entry) for name, entry in listed.items()]
    else:
        raise ValueError(f"{flag} {path} holds something else: give {FORMAT}")
    if not named:
        raise ValueError(f"{flag} {path} lists nothing: give {FORMAT}")

    for name, _ in named:
        if name is not None and not NAME.fullmatch(name):
            raise ValueError(f"{flag} {path} has the name {name!r}: use letters, digits and . _ + - alone")
    return tuple(_entry(name, text, flag) for name, text in named)


def read_words(words: Sequence[str], flag: str) -> tuple[Entry, ...]:
    """The models of a command line, each a path or NAME=PATH."""
    named = (NAMED.fullmatch(word) for word in words)
    pairs = (match.groups() if match else (None, word) for match, word in zip(named, words, strict=True))
    return tuple(_entry(name, text, flag) for name, text in pairs)


def check_names(entries: Sequence[Entry]) -> None:
    """ValueError where two models would make runs of one name."""
    names = [entry.name for entry in entries]
    for entry in entries:
        if names.count(entry.name) > 1:
            raise ValueError(
                f"{entry.flag} lists two models named {entry.name}: give them names of your own (NAME=PATH with --models, "
                "a mapping in a file)"
            )


def _entry(name: str | None, text: str, flag: str) -> Entry:
    cut = LAYERS.fullmatch(text)
    path, layers = cut.groups() if cut else (text, ALL_LAYERS)
    if text.endswith("@random"):
        raise ValueError(
            f"{flag} {text} says nothing of the student's depth: write @random:3 for one of 3 layers"
        )
    return Entry(name or _named(path, layers), path, layers, flag)


def _named(path: str, layers: str) -> str:
    """The name of a run's folder, of a file and of its layers: what tells it from others."""
    place = Path(path)
    own = place.name.removesuffix(".pt")
    if place.name in places.CHECKPOINT_NAMES and place.parent.name:
        own = place.parent.name
    elif own.startswith("checkpoint_") and place.parent.name:
        own = f"{place.parent.name}-{own.removeprefix('checkpoint_')}"
    return own if layers == ALL_LAYERS else f"{own}-{layers.replace(',', '_').replace(':', '.')}"


def find_models(
    entries: Sequence[Entry], tasks: Sequence[str], own_task_only: bool
) -> dict[str, list[Listed]]:
    """The models by task; ValueError where one is not there, or a task has none.

    own_task_only  leaves out, for each task, models that a run of another task made
    """
    found: dict[str, list[Listed]] = {}
    for task in tasks:
        found[task] = []
        for entry in entries:
            path = Path(entry.path.replace("{task}", task))
            checkpoint = places.find_checkpoint(path, f"{entry.flag}: {entry.name} =")
            if not own_task_only or _task_of(checkpoint) in (None, task):
                fingerprint = places.fingerprint(checkpoint)
                found[task].append(Listed(entry.name, checkpoint, fingerprint, entry.layers))
        if entries and not found[task]:
            flags = " and ".join(dict.fromkeys(entry.flag for entry in entries))
            raise ValueError(f"{flags} lists no model of {task}: add one, or leave out --task {task}")
    return found


def _task_of(checkpoint: Path) -> str | None:
    """The task of the run that made a checkpoint; None where no run is known to have."""
    try:
        return json.loads((checkpoint.parent / "spec.json").read_text("utf-8"))["task"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
