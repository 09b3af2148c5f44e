"""Made-up run directories in the launcher's format."""

import csv
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from launcher.planning.run_spec import RunSpec
from launcher.report.statistics import scorer
from launcher.results.runs import Run, read_group

SENTENCES = 200
LABELS = np.arange(SENTENCES) % 2


def spec(method: str = "kd", init: str = "0,1,2", seed: int = 1, **changes) -> RunSpec:
    """Return the spec of a run on SST-2; `changes` are other fields."""
    content = {"task": "SST-2", "mapping": "" if method in ("none", "kd") else "skip", "stage": "one"}
    content |= {"epochs": 2, "batch_size": 32, "lr": 5e-5, "updates": 500, "warmup": 30}
    return RunSpec(
        **(content | {"data": "d" * 64, "teacher": "t" * 64} | changes), method=method, init=init, seed=seed
    )


def classes_with(wrong: int | list[int], labels: np.ndarray = LABELS) -> np.ndarray:
    """Return logits of two classes that are right except for the first N sentences, or for those listed."""
    predicted = labels.copy()
    sentences = range(wrong) if isinstance(wrong, int) else wrong
    predicted[list(sentences)] = 1 - labels[list(sentences)]
    return np.eye(2, dtype=np.float32)[predicted]


def write_predictions(
    folder: Path, logits: np.ndarray, labels: np.ndarray = LABELS, split: str = "valid"
) -> Path:
    path = folder / "predictions" / f"{split}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, logits=logits, labels=labels)
    return path


def write_run(
    group: Path,
    run: RunSpec,
    logits: np.ndarray | None = None,
    labels: np.ndarray = LABELS,
    metric: str = "accuracy",
    score: float | None = None,
    predictions: bool = True,
    **result,
) -> Path:
    """Write a finished run that predicts `logits`; its score is theirs, or `score`."""
    folder = group / run.name
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(json.dumps(run.to_json()))
    if score is None:
        score = float(scorer(metric, logits[None], labels)(np.ones((1, len(labels))))[0, 0])
    scores = {"loss": 0.5, metric: score} if run.stage != "first" else {"loss": 0.5}
    at_best = {"valid": scores, **result.pop("more", {})}
    content = {"metric": metric, "best": score, "best_update": 500, "at_best": at_best, "at_end": at_best}
    content |= {"seconds": 100.0, "resumed": False, "spec": run.to_json()} | result
    (folder / "result.json").write_text(json.dumps(content))
    write_log(folder, {250: {**scores, metric: score - 2} if metric in scores else scores, 500: scores})
    if logits is not None and predictions:
        write_predictions(folder, logits, labels)
    return folder


def write_log(folder: Path, validations: dict[int, dict[str, float]]) -> None:
    lines = []
    for update, scores in validations.items():
        content = {"epoch": 1, "valid_num_updates": str(update)}
        content |= {f"valid_{name}": str(score) for name, score in scores.items()}
        lines.append(f"2000-01-01 00:00:00 | INFO | valid | {json.dumps(content)}\n")
    (folder / "log.txt").write_text("".join(lines))


def write_two_stages(group: Path, run: RunSpec, *arrays: np.ndarray, **result) -> Path:
    """Write a finished run in two stages; `first` changes the spec of the first."""
    first = replace(run, stage="first", **result.pop("first", {}))
    if not (group / first.name).exists():
        write_run(group, first, score=0.5, metric="loss", seconds=50.0)
    return write_run(group, replace(run, stage="second", after=first.name), *arrays, **result)


def read(group: Path) -> list[Run]:
    """Return the runs of a group; no file may be damaged."""
    notes: list[str] = []
    runs = read_group(group, notes.append)
    assert notes == []
    return runs


def table(text, title) -> list[list[str]]:
    """Return the rows of the first table below a heading or sentence, as lists of cells."""
    lines = text.split(title, 1)[1].strip().splitlines()
    return [line.strip("| ").split(" | ") for line in itertools.takewhile(bool, lines)]


def lines(path) -> list[dict[str, str]]:
    """Return the lines of a CSV file."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))
