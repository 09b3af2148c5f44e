"""Models that a file lists, to start students from: `--pass_dic`."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import places
from .yaml_file import read_yaml

FORMAT = "a list of checkpoints and run folders, or a mapping of a name of your own to each"
NAME = re.compile(r"[\w.+-]+")


@dataclass(frozen=True)
class Listed:
    """A model of the user's, as it stands in the names of runs."""

    name: str
    checkpoint: Path
    fingerprint: str


def read_list(path: Path, flag: str) -> tuple[tuple[str, str], ...]:
    """Name and path of each model that the JSON or YAML file lists; ValueError says what is wrong there."""
    listed = read_yaml(path, flag)
    if isinstance(listed, list) and all(isinstance(entry, str) for entry in listed):
        listed = [(_named(entry), entry) for entry in listed]
    elif isinstance(listed, dict) and all(isinstance(entry, str) for entry in listed.values()):
        listed = [(str(name), entry) for name, entry in listed.items()]
    else:
        raise ValueError(f"{flag} {path} holds something else: give {FORMAT}")

    names = [name for name, _ in listed]
    if not names:
        raise ValueError(f"{flag} {path} lists nothing: give {FORMAT}")
    for name in names:
        if not NAME.fullmatch(name):
            raise ValueError(f"{flag} {path} has the name {name!r}: use letters, digits and . _ + - alone")
        if names.count(name) > 1:
            raise ValueError(
                f"{flag} {path} has two models named {name}: give a mapping with names of your own"
            )
    return tuple(listed)


def _named(entry: str) -> str:
    """The name of a run's folder, or of a file: what tells it from others."""
    path = Path(entry)
    return path.parent.name if path.name in places.CHECKPOINT_NAMES else path.name.removesuffix(".pt")


def find_models(
    listed: Sequence[tuple[str, str]], tasks: Sequence[str], own_task_only: bool
) -> dict[str, list[Listed]]:
    """The models by task; ValueError where one is not there, or a task has none.

    own_task_only  leaves out, for each task, models that a run of another task made
    """
    found: dict[str, list[Listed]] = {}
    for task in tasks:
        found[task] = []
        for name, entry in listed:
            checkpoint = places.find_checkpoint(Path(entry.replace("{task}", task)), f"--pass_dic: {name} =")
            if not own_task_only or _task_of(checkpoint) in (None, task):
                found[task].append(Listed(name, checkpoint, places.fingerprint(checkpoint)))
        if listed and not found[task]:
            raise ValueError(f"--pass_dic lists no model of {task}: add one, or leave out --task {task}")
    return found


def _task_of(checkpoint: Path) -> str | None:
    """The task of the run that made a checkpoint; None where no run is known to have."""
    try:
        return json.loads((checkpoint.parent / "spec.json").read_text("utf-8"))["task"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
