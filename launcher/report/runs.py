"""Reads the run directories of a group."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..planning.run_spec import RunSpec


@dataclass(frozen=True)
class Run:
    """A run directory; `result` is None until the run is finished."""

    folder: Path
    spec: RunSpec
    result: dict[str, Any] | None

    @property
    def name(self) -> str:
        """Name of the folder, to which `spec.after` of a second stage refers."""
        return self.folder.name

    def score(self, subset: str, metric: str) -> float | None:
        """Return a metric at the best checkpoint; None if it was not logged."""
        return self.result["at_best"].get(subset, {}).get(metric) if self.result else None


def read_group(group: Path, note: Callable[[str], None]) -> list[Run]:
    """Return the runs started in a group, ordered by name.

    note  called with a message for each invalid file

    Raises ValueError if the folder does not exist or has no runs.
    """
    if not group.is_dir():
        raise ValueError(f"there is no folder {group}: give the --out and --group of the experiments")

    folders = sorted(path for path in group.iterdir() if path.is_dir())
    runs = [run for run in (_read_run(folder, note) for folder in folders) if run is not None]
    if not runs:
        raise ValueError(f"{group} has no runs: give the --out and --group of the experiments")
    return runs


def _read_run(folder: Path, note: Callable[[str], None]) -> Run | None:
    result = _read(folder / "result.json", _result, note)
    if result is not None:
        return Run(folder, result.pop("spec"), result)
    spec = _read(folder / "spec.json", _spec, note)
    return None if spec is None else Run(folder, spec, None)


def _read(path: Path, parse: Callable[[Any], Any], note: Callable[[str], None]) -> Any:
    try:
        return parse(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        note(
            f"{path} is invalid ({type(error).__name__}: {error}) and is omitted: delete it, and experiments.py writes "
            "it again"
        )
        return None


def _result(content: Any) -> dict[str, Any]:
    spec, best, seconds = _spec(content["spec"]), float(content["best"]), float(content["seconds"])
    scores = {
        subset: {metric: float(score) for metric, score in scores.items()}
        for subset, scores in dict(content["at_best"]).items()
    }
    checked = {"metric": str(content["metric"]), "best": best, "at_best": scores, "seconds": seconds}
    return {**content, **checked, "spec": spec}


def _spec(content: Any) -> RunSpec:
    # JSON turns tuples into lists, but a spec must be hashable.
    return RunSpec(
        **{key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    )
