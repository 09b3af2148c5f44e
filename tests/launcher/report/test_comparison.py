"""Differences between cells, computed from saved predictions; and the notes on runs that cannot be compared."""

import re

import numpy as np
import pytest

from launcher.report.comparison import compare
from launcher.results.cells import group_runs, sorted_cells
from tests.launcher.report.folders import LABELS, classes_with, read, spec, write_predictions, write_run


@pytest.fixture
def compared(tmp_path):
    """Return a function that compares all runs and returns kd, the method, the comparisons and the notes."""

    def call(metric="accuracy"):
        runs = read(tmp_path)
        notes = []
        comparisons = compare(runs, "valid", metric, samples=200, seed=1, note=notes.append)
        baseline, ours = sorted_cells(group_runs(runs, pytest.fail), "kd")
        return comparisons(ours, baseline), notes

    return call


def test_interval_equals_that_of_samples_drawn_by_hand(tmp_path, compared):
    wrong = {("kd", 1): 20, ("kd", 2): 30, ("crd", 1): [3, 50, 61], ("crd", 2): 33}
    right = {}
    for (method, seed), mistakes in wrong.items():
        write_run(tmp_path, spec(method, mapping="", seed=seed), classes_with(mistakes))
        right[method, seed] = classes_with(mistakes).argmax(-1) == LABELS

    sentences, seeds = np.random.default_rng(1), np.random.default_rng([1, 2])
    by_hand = []
    for _ in range(200):
        drawn = sentences.integers(0, 200, 200)
        of_seed = [right["crd", seed][drawn].mean() - right["kd", seed][drawn].mean() for seed in (1, 2)]
        by_hand.append(100 * np.mean([of_seed[place] for place in seeds.integers(0, 2, 2)]))

    found, _ = compared()
    assert found.value == pytest.approx(
        100 * (17 - 3) / 400
    )  # 20 - 3 of the first seed, 30 - 33 of the second
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(by_hand, [2.5, 97.5])))


def test_only_seeds_of_both_cells_are_compared(tmp_path, compared):
    for seed, wrong in ((1, 20), (2, 30)):
        write_run(tmp_path, spec(seed=seed), classes_with(wrong))
    for seed, wrong in ((2, 24), (3, 0)):
        write_run(tmp_path, spec("crd", mapping="", seed=seed), classes_with(wrong))

    found, notes = compared()
    assert (found.value, found.seeds, found.sentences) == (3, 1, 200)  # 30 - 24 of 200 sentences
    assert found.low < 3 < found.high
    assert notes == []


def test_labels_of_most_runs_are_compared_if_those_of_the_first_differ(tmp_path, compared):
    for seed, wrong in ((1, 20), (2, 30)):
        write_run(tmp_path, spec(seed=seed), classes_with(wrong))
    for seed, wrong in ((1, 10), (2, 14)):
        write_run(tmp_path, spec("crd", mapping="", seed=seed), classes_with(wrong))
    first = read(tmp_path)[0]
    assert (first.spec.method, first.spec.seed) == ("crd", 1)
    stale = write_predictions(first.folder, classes_with(10, 1 - LABELS), 1 - LABELS)

    found, (note,) = compared()
    assert (found.value, found.seeds) == (8, 1)  # 30 - 14 of 200 sentences
    assert re.search(
        f"valid.npz and {re.escape(str(stale))} have labels of different sentences, so the second is", note
    )


def test_runs_without_scores_are_not_compared_and_one_note_has_the_fix(tmp_path, compared):
    write_run(tmp_path, spec(), classes_with(20))
    run = write_run(tmp_path, spec("crd", mapping=""), classes_with(10))
    _, (note,) = compared("pearson")
    assert "valid.npz is not compared: pearson cannot be computed from 2 logits" in note

    path = run / "predictions" / "valid.npz"
    np.savez(path, logits=classes_with(10))  # without labels
    unlabelled = compared()
    path.unlink()
    found, (note,) = compared()
    assert unlabelled == (found, [note])
    assert found is None
    assert note.startswith("1 of 2 finished runs of SST-2 have no predictions of valid")
    assert str(run) in note
    assert "run experiments.py again, or scripts/predict.py" in note


def test_predictions_of_another_checkpoint_are_noted(tmp_path, compared):
    write_run(tmp_path, spec(), classes_with(20), score=90.0004)  # rounded
    wrong = write_run(tmp_path, spec("crd", mapping=""), classes_with(20), score=90.5)

    found, (note,) = compared()
    assert found.value == 0  # from the saved predictions
    assert note.startswith(f"{wrong} logged accuracy 90.5000 on valid, but its predictions give 90.0000")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "cannot be read"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: np.savez(path, labels=LABELS), "cannot be read"),
        (lambda path: np.savez(path, logits=np.array([{}]), labels=LABELS), "cannot be read"),  # pickled
        (
            lambda path: np.savez(path, logits=np.zeros((3, 2)), labels=LABELS),
            r"logits \(3, 2\) and labels \(200,\)",
        ),
        (lambda path: np.savez(path, logits=np.zeros((200, 2)), labels=LABELS + 1), "not classes 0..1"),
        (lambda path: np.savez(path, logits=np.full((200, 2), np.nan), labels=LABELS), "not finite"),
    ],
)
def test_damaged_predictions_give_one_note(tmp_path, compared, damage, message):
    write_run(tmp_path, spec(), classes_with(20))
    run = write_run(tmp_path, spec("crd", mapping=""), classes_with(20))
    damage(run / "predictions" / "valid.npz")

    found, (note,) = compared()
    assert found is None
    assert note.startswith(str(run / "predictions" / "valid.npz"))
    assert re.search(message, note)
