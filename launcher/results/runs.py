"""Reads run directories: how a run ended, its spec, result and scores."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..planning.run_spec import RunSpec

# GLUE has a second metric for these tasks.
SECOND_METRIC = {"MRPC": "f1", "QQP": "f1", "STS-B": "spearman"}
SPLITS = {"MNLI": {"valid": "matched", "valid1": "mismatched"}}
SHOWN_HASH = 7  # characters shown of a commit or another hash


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    result   content of `result.json`; None without one
    problem  the reason, if there is no result
    skipped  nothing was trained: the run had ended before or, without a result, another launcher is training it
    note     a problem after the training, such as missing predictions
    """

    result: Mapping[str, Any] | None
    problem: str = ""
    skipped: bool = False
    note: str = ""

    @property
    def well(self) -> bool:
        """Whether the run is finished, predictions included."""
        return self.result is not None and not self.note

    @property
    def held(self) -> bool:
        """Whether another launcher is training the run."""
        return self.result is None and self.skipped


def read_result(folder: Path) -> dict[str, Any] | None:
    """Return the result of a finished run; None if the run is not finished."""
    try:
        return json.loads((folder / "result.json").read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def print_problem(outcome: Outcome) -> None:
    """Print the problem of an outcome, if any; the model may exist nevertheless (`outcome.result`)."""
    if outcome.result is None:
        print(f"Training {'skipped' if outcome.skipped else 'failed'}: {outcome.problem}", file=sys.stderr)
    elif outcome.note:
        print(outcome.note, file=sys.stderr)


class Score(NamedTuple):
    """A metric of a dev split. The first of a task selects the best checkpoint and the best cell."""

    subset: str
    metric: str

    def title(self, task: str) -> str:
        """Return the name for tables."""
        name = {
            "f1": "F1",
            "macro_f1": "macro F1",
            "mcc": "MCC",
            "pearson": "Pearson",
            "spearman": "Spearman",
        }.get(self.metric, self.metric)
        default = None if self.subset == "valid" else self.subset
        split = SPLITS.get(task, {}).get(self.subset, default)
        return f"{name}, {split}" if split else name


@dataclass(frozen=True)
class Run:
    """A run directory; `result` is None until the run is finished."""

    folder: Path
    spec: RunSpec
    result: Mapping[str, Any] | None

    @property
    def name(self) -> str:
        """Name of the folder, to which `spec.after` of a second stage refers."""
        return self.folder.name

    @property
    def commit(self) -> str | None:
        """Short git commit of the code that trained the run, if recorded."""
        commit = (self.result or {}).get("commit")
        return (
            f"{commit[:SHOWN_HASH]}{'-modified' if self.result.get('modified') else ''}" if commit else None
        )

    def score(self, subset: str, metric: str) -> float | None:
        """Return a metric at the best checkpoint; None if it was not logged."""
        return self.result["at_best"].get(subset, {}).get(metric) if self.result else None


def read_group(group: Path, note: Callable[[str], None]) -> list[Run]:
    """Return the runs started in a group, ordered by name.

    note  called with a message for each invalid file

    Raises ValueError if the folder does not exist or has no runs.
    """
    if not group.is_dir():
        raise ValueError(f"{group} does not exist: give the --out and --group of the experiments")

    folders = sorted(path for path in group.iterdir() if path.is_dir())
    runs = [run for run in (_read_run(folder, note) for folder in folders) if run is not None]
    if not runs:
        raise ValueError(f"{group} has no runs: give the --out and --group of the experiments")
    return runs


def _read_run(folder: Path, note: Callable[[str], None]) -> Run | None:
    result = _read(folder / "result.json", _result, note)
    if result is not None:
        return Run(folder, result.pop("spec"), result)
    spec = _read(folder / "spec.json", RunSpec.from_json, note)
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
    spec, best, seconds = (
        RunSpec.from_json(content["spec"]),
        float(content["best"]),
        float(content["seconds"]),
    )
    scores = {
        subset: {metric: float(score) for metric, score in scores.items()}
        for subset, scores in dict(content["at_best"]).items()
    }
    checked = {"metric": str(content["metric"]), "best": best, "at_best": scores, "seconds": seconds}
    return {**content, **checked, "spec": spec}
