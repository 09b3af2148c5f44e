"""Layers that runs name, held against those of their teachers, before anything is trained."""

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from .flags import value_of
from .spec import RunSpec

LAYER = re.compile(rb"sentence_encoder\.layers\.(\d+)\.")


def layers_of(checkpoint: Path) -> int | None:
    """How many layers a checkpoint has, by the names of its weights; None where these cannot be read without torch."""
    try:
        with zipfile.ZipFile(checkpoint) as file:
            pickled = next(name for name in file.namelist() if name.endswith("/data.pkl"))
            numbers = LAYER.findall(file.read(pickled))
    except (zipfile.BadZipFile, StopIteration):
        return None
    return max((int(number) + 1 for number in numbers), default=None)


def too_deep(runs: Sequence[RunSpec], teachers: Mapping[str, tuple[Path, int | None]]) -> list[str]:
    """A sentence for each --init and --mapping that names layers its teacher has not.

    teachers  by task, where it comes from and its layers, as far as they are known
    """
    sentences = []
    for spec in runs:
        path, layers = teachers.get(spec.task, (None, None))
        if layers is None or spec.start:
            continue
        has = f"{path} has {layers} layers"
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
