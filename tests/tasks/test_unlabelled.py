"""`--unlabelled-subset`: sentences without labels take part in all terms but that of the labels."""

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.errors import CannotStart
from fairseq_kd.losses import cross_entropy, kd, squared_error
from tests.runs import check_same_weights, losses, train_by_two_workers, values_of
from tests.tiny import build, distil_command, logged, train_here, write_data, write_teacher

pytestmark = pytest.mark.slow

SPLITS = [("train", 20), ("unlabelled", 44), ("valid", 39)]
UNLABELLED = "--unlabelled-subset unlabelled"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "TINY-bin", sentences=SPLITS)


@pytest.mark.parametrize("regression", [False, True])
def test_loss_gradient_and_metrics_leave_missing_labels_out(tmp_path, regression):
    data = write_data(tmp_path / "data", sentences=SPLITS, regression=regression)
    teacher = write_teacher(tmp_path / "model.pt", classes=1 if regression else 2)
    weights, given = {"hard_weight": 0.7, "soft_weight": 0.4}, {"unlabelled_subset": "unlabelled"}
    task, student, criterion = build(data, teacher, "kd", task=given, **weights)
    dataset = task.load_dataset("train", combine=True)
    assert len(dataset) == 64
    rows = [0, 30, 5, 63]  # the second and the fourth have no label
    sample = dataset.collater([dataset[row] for row in rows])

    loss, size, logging_output = criterion(student.eval(), sample)
    loss.backward()
    found = {name: p.grad.clone() for name, p in student.named_parameters() if p.grad is not None}
    student.zero_grad()

    signals = criterion.student_signals(student, sample, criterion.student_wanted)
    taught = task.teacher.signals(sample, criterion.teacher_wanted)
    labelled = torch.tensor([0, 2])
    target = sample["target"][labelled]
    if regression:
        hard = squared_error(signals.logits[labelled], target.float())
        soft = squared_error(signals.logits, taught.logits)
    else:
        hard = cross_entropy(signals.logits[labelled], target)
        soft = kd(signals.logits, taught.logits, criterion.cfg.temperature)
    expected = 0.7 * hard.sum() + 0.4 * soft.sum()
    expected.backward()

    assert size == 4
    assert_close(loss, expected)
    for name, gradient in found.items():
        assert gradient.isfinite().all()
        assert_close(gradient, student.get_parameter(name).grad, rtol=1e-4, atol=1e-6)
    if regression:
        assert logging_output["moments"][0] == 2
    else:
        assert logging_output["confusion"].sum() == 2


def test_pairs_and_parts_of_the_training_set_are_joined_in_order(data):
    model = write_teacher(data.parent / "model.pt")
    task, _, _ = build(data, model, "kd", task={"unlabelled_subset": "unlabelled"})
    plain, _, _ = build(data, model, "kd", hard_weight=0.0)
    joined = task.load_dataset("train", combine=True)
    alone = plain.load_dataset("train", combine=True)
    other = plain.load_dataset("unlabelled")
    for row in range(20):
        assert torch.equal(joined[row]["tokens"], alone[row]["tokens"])
        assert joined[row]["target"] == alone[row]["target"]
    for row in range(44):
        assert torch.equal(joined[20 + row]["tokens"], other[row]["tokens"])
        assert joined[20 + row]["target"] == -100
    assert other.targets is None


def test_accumulation_and_two_workers_equal_one_batch(data, teacher, tmp_path):
    # With a large epsilon the update is as smooth in the gradient as SGD's.
    common = (UNLABELLED, "--adam-eps 0.1 --max-epoch 2")
    one, four, two = (
        distil_command(data, tmp_path / name, teacher, "hidden_mse_learn", *common, flags)
        for name, flags in (
            ("one", "--batch-size 64"),
            ("four", "--batch-size 16 --update-freq 4"),
            ("two", "--batch-size 32"),
        )
    )
    expected, accumulated = (values_of(train_here(command), "train_inner") for command in (one, four))
    by_two = logged(train_by_two_workers(two), "train_inner")
    for name, found in ("four", accumulated), ("two", by_two):
        assert len(found) == len(expected) == 2
        for key in ("loss", "hard", "soft", "hidden", "accuracy", "gnorm"):
            assert [row[key] for row in found] == pytest.approx([row[key] for row in expected], abs=2e-3), key
        check_same_weights(tmp_path / name, tmp_path / "one", rtol=1e-3, atol=1e-4)


def test_a_cache_holds_the_sentences_of_both_parts(data, teacher, tmp_path):
    cache = ("--teacher-cache", str(tmp_path / "cache"), "--cache-precision fp32")
    live = losses(train_here(distil_command(data, tmp_path / "live", teacher, "kd", UNLABELLED)))
    train_here(distil_command(data, tmp_path / "labelled", teacher, "kd", *cache))
    assert len(live) == 8
    for name in ("writing", "reading"):
        found = train_here(distil_command(data, tmp_path / name, teacher, "kd", UNLABELLED, *cache))
        assert losses(found) == pytest.approx(live, abs=2e-3)
    folders = {path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()}
    assert folders == {"train", "train+unlabelled", "valid"}


def test_a_loss_that_learns_nothing_from_them_is_refused(data, teacher):
    with pytest.raises(CannotStart, match="--unlabelled-subset unlabelled.*only the term of the labels"):
        build(data, teacher, "kd", task={"unlabelled_subset": "unlabelled"}, soft_weight=0.0)


def test_a_missing_split_is_named_with_its_flag(data, teacher):
    task, _, _ = build(data, teacher, "kd", task={"unlabelled_subset": "nosuch"})
    with pytest.raises(CannotStart, match="--unlabelled-subset: .* no split nosuch: it has train"):
        task.load_dataset("train", combine=True)
