"""From lists to runs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product

from .methods import ALL_STATES, LOGITS_ONLY, on_attention
from .places import Data
from .spec import FIRST, ONE, SECOND, RunSpec
from .tasks import TASKS


@dataclass(frozen=True)
class Grid:
    """What is multiplied; None leaves a setting to the task's published one."""

    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    inits: tuple[str, ...]
    mappings: tuple[str, ...]
    stages: tuple[str, ...]
    seeds: tuple[int, ...]
    epochs: int
    first_epochs: int
    batch_size: int | None = None
    lr: float | None = None
    flags: tuple[str, ...] = ()


def settle(grid: Grid) -> Grid:
    """The grid with its random students as deep as the others; ValueError where it contradicts itself."""
    clashing = [method for method in grid.methods if on_attention(method)]
    if "combine" in grid.mappings and clashing:
        raise ValueError(
            f"--mapping combine mixes hidden states, but --method {','.join(clashing)} compares attention: leave one "
            "of the two out"
        )
    if "random" not in grid.inits:
        return grid

    depths = sorted({depth(init) for init in grid.inits} - {None})
    if len(depths) != 1:
        found = f"depths {' and '.join(map(str, depths))}" if depths else "no depth"
        raise ValueError(
            f"--init random has {found} to take over from other students: write random:3 for one of 3 layers"
        )
    inits = (f"random:{depths[0]}" if init == "random" else init for init in grid.inits)
    return replace(grid, inits=tuple(dict.fromkeys(inits)))


def depth(init: str) -> int | None:
    """Layers of a student with that --init; None where the teacher decides, or other students."""
    if init.startswith("random:"):
        return int(init.removeprefix("random:"))
    return None if init in ("all", "random") else init.count(",") + 1


def plan(grid: Grid, data: Mapping[str, Data], teachers: Mapping[str, str]) -> list[RunSpec]:
    """All runs of a grid, each once, a first stage before its second.

    data      by task
    teachers  fingerprint by task

    Methods on logits alone have neither mapping nor first stage: they make one cell. Methods on all
    states have no mapping.
    """
    runs: dict[str, RunSpec] = {}
    axes = product(grid.tasks, grid.methods, grid.inits, grid.mappings, grid.stages, grid.seeds)
    for task, method, init, mapping, stages, seed in axes:
        if method in LOGITS_ONLY:
            mapping, stages = "", "one"
        elif method in ALL_STATES:
            mapping = ""

        settings = TASKS[task]
        batch_size = grid.batch_size or settings.batch_size

        def schedule(epochs: int, settings=settings, task=task, batch_size=batch_size) -> dict[str, int]:
            updates, warmup = settings.schedule(epochs, batch_size, data[task].sentences)
            return {"epochs": epochs, "updates": updates, "warmup": warmup}

        last = RunSpec(
            task=task,
            method=method,
            init=init,
            mapping=mapping,
            stage=ONE,
            seed=seed,
            batch_size=batch_size,
            lr=grid.lr or settings.lr,
            data=data[task].fingerprint,
            teacher=teachers[task],
            flags=grid.flags,
            **schedule(grid.epochs),
        )
        if stages == "two":
            first = replace(last, stage=FIRST, **schedule(grid.first_epochs))
            last = replace(last, stage=SECOND, after=first.name)
            runs.setdefault(first.name, first)
        runs.setdefault(last.name, last)
    return list(runs.values())
