"""Plans the sizes of stepwise pruning, and records the settings of its folder."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from launcher.files import write_json
from launcher.planning.run_spec import RunSpec, other_setting

# A frozen dataclass of whole numbers, one of them `layers`, as that of fairseq_kd/models/pruning.py.
Sizes = TypeVar("Sizes", bound=Any)

# Width: heads, feed-forward neurons and embeddings.
TOGETHER, WIDTH_FIRST, DEPTH_FIRST = ORDERS = ("together", "width-first", "depth-first")

# File in a step's folder: the pruned model, which the step trains.
PRUNED = Path("pruned") / "model.pt"

# File in the folder of all steps: their settings.
RECORD = "schedule.json"


def schedule(start: Sizes, end: Sizes, steps: int, order: str) -> list[Sizes]:
    """Return the sizes from `start` (excluded) to `end`, without repetitions.

    together     each step prunes an equal share of everything
    width-first  `steps` steps in width, then as many in depth
    depth-first  first depth, then width
    """
    if order == TOGETHER:
        corners = [start, end]
    elif order == WIDTH_FIRST:
        corners = [start, replace(end, layers=start.layers), end]
    else:
        corners = [start, replace(start, layers=end.layers), end]
    sizes = [start]
    for begin, target in zip(corners, corners[1:], strict=False):
        for step in range(1, steps + 1):
            sizes.append(_between(begin, target, step / steps))
    return list(dict.fromkeys(sizes))[1:]


def _between(start: Sizes, end: Sizes, share: float) -> Sizes:
    theirs = vars(end)
    return replace(
        start, **{name: round(size + share * (theirs[name] - size)) for name, size in vars(start).items()}
    )


def claim(out: Path, sizes: Sequence[Sizes], spec: RunSpec) -> None:
    """Record the settings of `out`; raise ValueError if it contains steps with other settings.

    spec  the settings that all steps share
    """
    wanted = {"schedule": [vars(size) for size in sizes], **spec.to_json()}
    begun = any(next(out.glob(f"*/{name}"), None) for name in (PRUNED, "checkpoint*.pt", "result.json"))
    if begun and (other := other_setting(_read(out), wanted)):
        raise ValueError(f"--out {out} contains steps of {other}: name another folder, or remove that one")
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / RECORD, wanted)


def _read(out: Path) -> dict[str, Any]:
    """Return the recorded settings, with defaults for fields that are newer than the record."""
    try:
        there = json.loads((out / RECORD).read_text("utf-8"))
        return {"schedule": there.pop("schedule"), **RunSpec.from_json(there).to_json()}
    except (KeyError, OSError, TypeError, ValueError):
        raise ValueError(
            f"--out {out} contains steps, but no {RECORD} with their settings: name another folder, or remove that one"
        ) from None
