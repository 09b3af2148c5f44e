"""Splits of sentences: their labels, their lengths, and batches of other splits that fill a worker's turn."""

import json

import numpy as np
import pytest

from fairseq_kd.errors import CannotStart
from fairseq_kd.models.shape import ModelShape
from tests.tiny import SHAPE, batch, build, write_data, write_indexed, write_teacher


def test_missing_data_and_invalid_flags_are_refused(data, teacher, tmp_path):
    with pytest.raises(CannotStart, match=r"nowhere has no input0/dict\.txt"):
        build(tmp_path / "nowhere", None, "kd")
    with pytest.raises(CannotStart, match="--length-bucket 0"):
        build(data, teacher, "kd", task={"length_bucket": 0})


def unlink(data, split: str) -> None:
    for path in (data / "label").glob(f"{split}.*"):
        path.unlink()


@pytest.mark.parametrize(
    ("method", "weights", "flag"),
    [("kd", {}, "--hard-weight"), ("crd", {"hard_weight": 0.0, "soft_weight": 0.0}, "--inter-weight")],
)
def test_a_split_without_labels_is_refused_if_a_term_needs_them(tmp_path, teacher, method, weights, flag):
    data = write_data(tmp_path / "data")
    unlink(data, "valid")
    task, _, _ = build(data, teacher, method, **weights)
    with pytest.raises(CannotStart, match=f"no labels for valid, but {flag} above 0"):
        task.load_dataset("valid")
    task, _, _ = build(data, teacher, "kd", hard_weight=0.0)
    assert task.load_dataset("valid").targets is None


def test_labels_of_the_training_set_are_read_before_it(tmp_path, teacher):
    data = write_data(tmp_path / "data")
    write_indexed(data / "label" / "train", [np.array([4, 2])] * 64)
    with pytest.raises(CannotStart, match="all sentences of train in .* have the same label"):
        build(data, teacher, "crd")
    unlink(data, "train")
    with pytest.raises(CannotStart, match="has no labels for train, but --criterion crd needs them"):
        build(data, teacher, "crd")


def labels(*numbers: int):
    return lambda data: write_indexed(data / "label" / "valid", [np.array([4 + each, 2]) for each in numbers])


@pytest.mark.parametrize(
    ("damage", "split", "found"),
    [
        (lambda data: None, "valid1", "no split valid1: it has train, valid"),
        (lambda data: (data / "input0" / "valid.idx").write_bytes(b"MMIDIDX"), "valid", r"valid\.idx or \.bin cannot be"),
        (labels(*[2] * 40), "valid", "has a label outside the 2 classes 0..1"),
        (labels(*[0] * 39), "valid", "39 labels for 40 sentences"),
    ],
)  # fmt: skip
def test_a_split_that_cannot_be_read(tmp_path, teacher, damage, split, found):
    data = write_data(tmp_path / "data")
    damage(data)
    task, _, _ = build(data, teacher, "kd")
    with pytest.raises(CannotStart, match=found):
        task.load_dataset(split)


def test_a_regression_has_numbers_and_saves_the_scale_of_its_scores(tmp_path):
    data = write_data(tmp_path / "data", regression=True)
    meta = json.loads((data / "meta.json").read_text())
    (data / "meta.json").write_text(json.dumps(meta | {"score_scale": 5.0}))
    task, _, _ = build(data, write_teacher(tmp_path / "model.pt", classes=1), "kd")
    assert task.saved_settings()["score_scale"] == 5.0
    (data / "label" / "valid.label").write_text("0.5\nhalf\n")
    with pytest.raises(CannotStart, match=r"valid\.label .*'half'"):
        task.load_dataset("valid")


def test_examples_longer_than_the_student_are_refused(data, tmp_path):
    short = ModelShape(layers=4, width=16, ffn=32, heads=4, max_positions=10)
    task, _, _ = build(data, write_teacher(tmp_path / "model.pt", short), "kd")
    with pytest.raises(CannotStart, match=r"of \d+ tokens, but the student \(--max-positions\) takes 10"):
        task.load_dataset("train")


@pytest.mark.parametrize(
    ("limits", "split", "found"),
    [
        ((9, 9), "train", r"--max-tokens 9 is less than the \d\d"),
        ((9, 9), "valid", "--max-tokens 9 is less than"),
        ((None, 9), "valid", "--max-tokens-valid 9 is less than"),
    ],
)
def test_batches_too_small_for_an_example_are_refused(data, teacher, limits, split, found):
    limits = dict(zip(("max_tokens", "max_tokens_valid"), limits, strict=True))
    task, _, _ = build(data, teacher, "kd", task=limits)
    with pytest.raises(CannotStart, match=found):
        task.load_dataset(split)
    if limits["max_tokens"] is None:
        task.load_dataset("train")


class Optimizer:
    def backward(self, loss) -> None:
        loss.backward()


@pytest.mark.slow
@pytest.mark.parametrize("regression", [False, True])
@pytest.mark.parametrize("unlabelled", ["train", "valid", None])
def test_a_filler_of_another_split_logs_the_same(tmp_path, regression, unlabelled):
    """Batches that fill up a worker's turn, of whatever split they are, log what batches of the training set log."""
    data = write_data(tmp_path / "data", regression=regression)
    unlink(data, unlabelled)
    teacher = write_teacher(tmp_path / "teacher.pt", SHAPE, classes=1 if regression else 2)
    task, student, criterion = build(data, teacher, "kd", hard_weight=0.0, soft_weight=1.0)
    samples = {split: batch(task, [0, 1, 2], split) for split in ("train", "valid")}
    logged = [
        task.train_step(sample, student, criterion, Optimizer(), 0, ignore_grad=split != "train")[2]
        for split, sample in samples.items()
    ]
    assert list(logged[0]) == list(logged[1])
    shapes = [[getattr(value, "shape", ()) for value in each.values()] for each in logged]
    assert shapes[0] == shapes[1]
    assert not any(getattr(value, "any", lambda value=value: value != 0)() for value in logged[1].values())
    assert ("confusion" in logged[0] or "moments" in logged[0]) == (unlabelled != "train")
