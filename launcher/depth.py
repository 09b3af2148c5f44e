"""Checks the layers that runs name against those of their teachers, before anything is trained."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from .flags import value_of
from .plugin import ask
from .spec import RunSpec


def too_deep(runs: Sequence[RunSpec], models: Mapping[str, Path], trainer: str) -> list[str]:
    """Return a sentence for each model that cannot be read, or each --init and --mapping that names layers it lacks.

    models   by task: the teacher, or the model that it is made of
    trainer  the fairseq-train whose Python reads the models
    """
    _, found = ask(trainer, set(models.values()))
    problems = [each["problem"].rstrip(".") for each in found.values() if "problem" in each]
    if problems:
        return problems
    sentences = []
    for spec in runs:
        if spec.task not in models or spec.start:
            continue
        model = models[spec.task]
        layers = found[model]["layers"]
        has = f"{model} has {layers} layers"
        # Of another model, where --init-from names one.
        copied = spec.init if value_of("--init-from", spec.flags) is None else ""
        named = [int(number) for number in copied.split(",") if number.isdecimal()]
        if named and max(named) >= layers:
            sentences.append(
                f"--init {spec.init} names layer {max(named)}, and {has}: name 0 to {layers - 1}"
            )
        reached = _reached(spec.mapping)
        if reached > layers:
            sentences.append(
                f"--mapping {spec.mapping} reaches state {reached}, and {has}: name 0 to {layers}"
            )
    return list(dict.fromkeys(sentences))


def _reached(mapping: str) -> int:
    """The highest teacher state that a mapping names: of top10 10, of 0:0,1:4 4; 0 where it names none."""
    return max((int(number) for number in re.findall(r"(?:^top|:)(\d+)", mapping)), default=0)
