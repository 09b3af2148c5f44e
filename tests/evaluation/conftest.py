"""Tiny runs whose validations are remembered sentence by sentence."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.tiny import train_command, train_here, write_data, write_teacher


@dataclass(frozen=True)
class Run:
    """A finished training.

    seen    logits [N, C] of every split as the last validation computed them, in the data's order
    logged  what the last validation of every split logged
    """

    folder: Path
    data: Path
    seen: dict[str, np.ndarray]
    logged: dict[str, dict[str, float]]


@pytest.fixture(scope="session")
def train(tmp_path_factory) -> Callable[..., Run]:
    """Trains on tiny data, in this process."""

    def trained(task: str = "TINY", *flags: str, splits: str = "valid", **described) -> Run:
        folder = tmp_path_factory.mktemp(task)
        data = write_data(folder / f"{task}-bin", **described)
        rename(data, task)
        classes = 1 if described.get("regression") else described.get("classes", 2)
        teacher = write_teacher(folder / "teacher" / "model.pt", classes=classes)
        command = train_command(data, folder / "run", "--teacher", str(teacher), "--criterion", "kd")
        command += ["--init-layers", "0,3", "--valid-subset", splits, *flags]

        seen, rows = _watched(lambda: train_here(command), splits.split(","))
        logged = {
            split: {key.removeprefix(f"{split}_"): value for key, value in row.items()}
            for split, row in rows
            if split in seen
        }
        return Run(folder / "run", data, seen, logged)

    return trained


@pytest.fixture(scope="session")
def three_classes(train) -> Run:
    """Train a run with two dev sets and unlabelled test splits, like MNLI."""
    sentences = [("train", 64), ("valid", 40), ("valid1", 30), ("test", 23), ("test1", 17)]
    run = train("MNLI", splits="valid,valid1", classes=3, sentences=sentences)
    for path in (run.data / "label").glob("test*.*"):
        path.unlink()
    return run


@pytest.fixture(scope="session")
def regression(train) -> Run:
    metric = ("--best-checkpoint-metric", "pearson", "--maximize-best-checkpoint-metric")
    return train("STS-B", *metric, regression=True)


def rename(data: Path, task: str, **changes) -> None:
    """Lets tiny data say that it is another task's."""
    meta = json.loads((data / "meta.json").read_text())
    (data / "meta.json").write_text(json.dumps({**meta, "task": task, **changes}))


def _watched(training: Callable, splits: list[str]) -> tuple[dict[str, np.ndarray], list]:
    """Run a training; return the logits of its validations, and its return value."""
    from unittest import mock

    from fairseq_kd.objectives import sentence_labels

    batches = []
    original = sentence_labels.label_statistics

    def watch(logits, sample, regression, training):
        if not training:
            batches.append((sample["split_sentences"], sample["id"], logits.float()))
        return original(logits, sample, regression, training)

    with mock.patch.object(sentence_labels, "label_statistics", watch):
        rows = training()

    # The splits of a validation follow each other; each goes on until all its sentences were seen.
    seen, rest = {}, iter(batches)
    for split in splits:
        sentences, ids, logits = next(rest)
        seen[split] = np.zeros((sentences, logits.size(1)), np.float32)
        seen[split][ids] = logits
        done = len(ids)
        while done < sentences:
            _, ids, logits = next(rest)
            seen[split][ids] = logits
            done += len(ids)
    return seen, rows
