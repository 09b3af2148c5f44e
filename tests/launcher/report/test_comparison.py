import re

import numpy as np
import pytest

from launcher.report.cells import cells
from launcher.report.comparison import compare
from tests.launcher.report.folders import LABELS, classes_with, read, spec, write_predictions, write_run


@pytest.fixture
def compared(tmp_path):
    """Return a function that compares all runs and returns kd, the method, the comparisons and the notes."""

    def call():
        runs = read(tmp_path)
        notes = []
        comparisons = compare(runs, "valid", "accuracy", samples=200, seed=1, note=notes.append)
        baseline, ours = cells(runs, "kd", pytest.fail)
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


def test_cells_without_predictions_are_not_compared_and_noted_with_a_fix(tmp_path, compared):
    write_run(tmp_path, spec(), classes_with(20))
    without = write_run(tmp_path, spec("crd", mapping=""), classes_with(10), predictions=False)

    found, (note,) = compared()
    assert found is None
    assert note.startswith("1 of 2 finished runs of SST-2 have no predictions of valid")
    assert str(without) in note
    assert "call experiments.py again, or scripts/predict.py" in note


def test_other_labels_are_refused_naming_both_files(tmp_path, compared):
    first = write_run(tmp_path, spec(), classes_with(20))
    second = write_run(tmp_path, spec("crd", mapping=""), classes_with(20, 1 - LABELS), 1 - LABELS)

    found, (note,) = compared()
    assert found is None
    for run in (first, second):
        assert str(run / "predictions" / "valid.npz") in note


def test_predictions_of_another_checkpoint_are_noted(tmp_path, compared):
    write_run(tmp_path, spec(), classes_with(20))
    wrong = write_run(tmp_path, spec("crd", mapping=""), classes_with(20), score=90.5)

    found, (note,) = compared()
    assert found.value == 0  # from the saved predictions
    assert note.startswith(f"{wrong} logged accuracy 90.5000 on valid, but its predictions give 90.0000")


def test_rounding_is_not_noted(tmp_path, compared):
    write_run(tmp_path, spec(), classes_with(20), score=90.0004)
    write_run(tmp_path, spec("crd", mapping=""), classes_with(10))
    assert compared()[1] == []


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


def test_split_without_labels_is_not_compared(tmp_path, compared):
    write_run(tmp_path, spec(), classes_with(20))
    run = write_run(tmp_path, spec("crd", mapping=""), classes_with(20))
    np.savez(write_predictions(run, classes_with(20)), logits=classes_with(20))
    found, (note,) = compared()
    assert found is None
    assert "have no predictions of valid" in note
