"""Expands the lists of a grid into runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product

from ..datasets import TASKS, Data
from ..methods import LOGITS, NO_TEACHER, Methods, find_methods, fitting
from ..model_list import Entry, Listed
from ..models import ALL_LAYERS
from ..overrides import without_weights
from .run_spec import FIRST, ONE, SECOND, RunSpec
from .schedule import scheduled, update_freqs

# Kinds of grid: students of methods, second stages of listed models, or the fine-tuning of listed models.
METHOD, PREDICTION, FINETUNING = "method_specific", "pred", "finetune"

# Stands for the default mapping of each method.
OWN_MAPPING = ""


@dataclass(frozen=True)
class Grid:
    """The lists that are multiplied; None stands for the published setting of the task.

    models       listed models, which replace methods, inits, mappings and stages
    stage2_from  see RunSpec
    known        all methods of the plugin
    """

    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    inits: tuple[str, ...]
    mappings: tuple[str, ...]
    stages: tuple[str, ...]
    seeds: tuple[int, ...]
    epochs: int
    first_epochs: int
    batch_sizes: tuple[int | None, ...] = (None,)
    lrs: tuple[float | None, ...] = (None,)
    flags: tuple[str, ...] = ()
    kind: str = METHOD
    models: tuple[Entry, ...] = ()
    stage2_from: str = RunSpec.stage2_from
    known: Methods = field(default_factory=find_methods, compare=False, repr=False)

    @property
    def needs_teacher(self) -> bool:
        return self.kind != FINETUNING


def settle(grid: Grid) -> Grid:
    """Return the grid with the depth of random students filled in; raise ValueError if settings conflict."""
    update_freqs(grid.flags, grid.epochs)
    described = {method: grid.known[method] for method in grid.methods}
    clashing = [
        name for name, method in described.items() if method.mapping is not None and not method.mixes_states
    ]
    mixing = [mapping for mapping in grid.mappings if mapping.startswith("combine")]
    if mixing and clashing:
        raise ValueError(
            f"--mapping {mixing[0]} mixes all hidden states, but --method {','.join(clashing)} compares pairs of layers: "
            "leave one of the two out"
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
    """Return the number of layers that an --init defines; None if it depends on the teacher or other students."""
    if init.startswith("random:"):
        return int(init.removeprefix("random:"))
    return None if init in ("all", "random") else init.count(",") + 1


def plan(
    grid: Grid, data: Mapping[str, Data], teachers: Mapping[str, str], models: Mapping[str, Sequence[Listed]]
) -> list[RunSpec]:
    """Return all runs of a grid, each once, a first stage before its second.

    data      by task
    teachers  identities of the teachers, by task
    models    listed models, by task
    """
    runs: dict[str, RunSpec] = {}
    for task in grid.tasks:
        cells = _listed(grid, models[task]) if grid.kind != METHOD else _cells(grid)
        for cell, batch_size, lr, seed in product(cells, grid.batch_sizes, grid.lrs, grid.seeds):
            if cell.seed not in (None, seed):
                continue
            rates = batch_size or TASKS[task].batch_size, lr or TASKS[task].lr
            for spec in _stages(grid, cell, task, *rates, seed, data[task], teachers.get(task, "")):
                runs.setdefault(spec.name, spec)
    return list(runs.values())


@dataclass(frozen=True)
class _Cell:
    """The settings that runs of all tasks and seeds share; see RunSpec. `seed` restricts the cell to one seed."""

    method: str
    init: str
    mapping: str
    stages: str
    start: str = ""
    layers: str = ALL_LAYERS
    seed: int | None = None


def _cells(grid: Grid) -> list[_Cell]:
    """Return each cell once; methods without a mapping or first stage are not multiplied by mappings or stages."""
    cells = []
    for method, init, mapping, stages in product(grid.methods, grid.inits, grid.mappings, grid.stages):
        described = grid.known[method]
        if described.mapping is None:
            mapping = ""
        elif mapping == OWN_MAPPING:
            mapping = described.mapping
        if not described.first_stage:
            stages = "one"
        cells.append(_Cell(method, init, mapping, stages))
    return list(dict.fromkeys(cells))


def _listed(grid: Grid, models: Sequence[Listed]) -> list[_Cell]:
    """Return a cell for each model: its second stage, or its fine-tuning."""
    method, stages = (LOGITS, SECOND) if grid.kind == PREDICTION else (NO_TEACHER, "one")
    return [
        _Cell(
            method,
            model.name,
            "",
            stages,
            model.fingerprint,
            model.layers,
            None if model.place is None else grid.seeds[model.place],
        )
        for model in models
    ]


def _stages(
    grid: Grid, cell: _Cell, task: str, batch_size: int, lr: float, seed: int, data: Data, teacher: str
) -> list[RunSpec]:
    schedule = partial(
        scheduled, TASKS[task], batch_size=batch_size, sentences=data.sentences, flags=grid.flags
    )
    last = RunSpec(
        task=task,
        method=cell.method,
        init=cell.init,
        mapping=cell.mapping,
        stage=SECOND if cell.stages == SECOND else ONE,
        seed=seed,
        batch_size=batch_size,
        lr=lr,
        data=data.fingerprint,
        teacher=teacher,
        start=cell.start,
        layers=cell.layers,
        start_of_seed=cell.seed is not None,
        **schedule(epochs=grid.epochs),
    )
    if cell.stages != "two":
        return [_flagged(last, grid)]
    first = _flagged(replace(last, stage=FIRST, **schedule(epochs=grid.first_epochs)), grid)
    return [
        first,
        _flagged(replace(last, stage=SECOND, after=first.name, stage2_from=grid.stage2_from), grid),
    ]


def _flagged(spec: RunSpec, grid: Grid) -> RunSpec:
    """Add the user's flags that the criterion has and that take effect in the stage."""
    flags = fitting(grid.flags, spec.criterion, grid.known)
    weighs = spec.stage != FIRST and spec.method != NO_TEACHER
    return replace(spec, flags=flags if weighs else without_weights(flags))
