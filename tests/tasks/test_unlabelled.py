"""`--unlabelled-subset`: sentences without labels take part in all terms but that of the labels."""

import json
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.errors import CannotStart
from fairseq_kd.losses import cross_entropy, kd, squared_error
from tests.processes import torchrun
from tests.tiny import build, distil_command, logged, train_here, write_data, write_teacher

pytestmark = pytest.mark.slow

SPLITS = [("train", 20), ("unlabelled", 44), ("valid", 39)]
UNLABELLED = ("--unlabelled-subset", "unlabelled")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "TINY-bin", sentences=SPLITS)


def losses(rows) -> list[dict]:
    return [values for tag, values in rows if tag == "train_inner"]


@pytest.mark.parametrize("regression", [False, True])
def test_loss_gradient_and_metrics_leave_missing_labels_out(tmp_path, regression):
    data = write_data(tmp_path / "data", sentences=SPLITS, regression=regression)
    teacher = write_teacher(tmp_path / "model.pt", classes=1 if regression else 2)
    task, student, criterion = build(
        data, teacher, "kd", task={"unlabelled_subset": "unlabelled"}, hard_weight=0.7, soft_weight=0.4
    )
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
        hard, soft = (
            cross_entropy(signals.logits[labelled], target),
            kd(signals.logits, taught.logits, criterion.cfg.temperature),
        )
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


@pytest.mark.slow
def test_accumulation_and_two_workers_equal_one_batch(data, teacher, tmp_path):
    # With a large epsilon the update is as smooth in the gradient as SGD's.
    common = (*UNLABELLED, "--adam-eps", "0.1", "--max-epoch", "2")

    def command(name: str, *flags: str) -> list[str]:
        return distil_command(data, tmp_path / name, teacher, "hidden_mse_learn", *common, *flags)

    one = train_here(command("one", "--batch-size", "64"))
    four = train_here(command("four", "--batch-size", "16", "--update-freq", "4"))
    workers = ["--ddp-backend", "legacy_ddp", "--distributed-backend", "gloo", "--batch-size", "32"]
    result = torchrun(command("two", *workers))
    assert result.returncode == 0, result.stderr[-2000:]

    keys = ["loss", "hard", "soft", "hidden", "accuracy"]
    expected = [[values[key] for key in keys] for values in losses(one)]
    assert len(expected) == 2
    for found in (losses(four), logged(result.stdout + result.stderr, "train_inner")):
        for ours, theirs in zip(found, expected, strict=True):
            assert [ours[key] for key in keys] == pytest.approx(theirs, abs=2e-3)

    weights = torch.load(tmp_path / "one/checkpoint_last.pt", weights_only=True)["model"]
    for name in ("four", "two"):
        for key, value in torch.load(tmp_path / name / "checkpoint_last.pt", weights_only=True)[
            "model"
        ].items():
            assert_close(value, weights[key], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_cache_holds_the_sentences_of_both_parts(data, teacher, tmp_path):
    cache = ("--teacher-cache", str(tmp_path / "cache"), "--cache-precision", "fp32")
    live = train_here(distil_command(data, tmp_path / "live", teacher, "kd", *UNLABELLED))
    train_here(distil_command(data, tmp_path / "labelled", teacher, "kd", *cache))
    writing = train_here(distil_command(data, tmp_path / "writing", teacher, "kd", *UNLABELLED, *cache))
    reading = train_here(distil_command(data, tmp_path / "reading", teacher, "kd", *UNLABELLED, *cache))
    assert {path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()} == {
        "train",
        "train+unlabelled",
        "valid",
    }
    expected = [values["loss"] for values in losses(live)]
    assert len(expected) == 8
    for rows in (writing, reading):
        assert [values["loss"] for values in losses(rows)] == pytest.approx(expected, abs=2e-3)


@pytest.mark.slow
def test_a_stopped_run_resumes_in_mid_epoch_with_the_same_sentences(data, teacher, tmp_path):
    through = distil_command(data, tmp_path / "through", teacher, "kd", *UNLABELLED, "--max-epoch", "2")
    expected = losses(train_here(through))
    stopped = distil_command(data, tmp_path / "run", teacher, "kd", *UNLABELLED, "--max-epoch", "2")
    first = losses(train_here([*stopped, "--max-update", "5"]))
    second = losses(train_here(stopped))
    found = [values["loss"] for values in (*first, *second)]
    assert found == pytest.approx([values["loss"] for values in expected], abs=1e-5)

    with pytest.raises(CannotStart, match="--unlabelled-subset"):
        train_here(distil_command(data, tmp_path / "run", teacher, "kd", "--max-epoch", "3"))


@pytest.mark.parametrize(
    ("criterion", "options", "match"),
    [
        ("kd", {"soft_weight": 0.0}, "--unlabelled-subset unlabelled.*only the term of the labels"),
        ("crd", {}, "--unlabelled-subset.*--criterion crd needs labels"),
    ],
)
def test_methods_that_cannot_use_unlabelled_sentences_are_refused(data, teacher, criterion, options, match):
    with pytest.raises(CannotStart, match=match):
        build(data, teacher, criterion, task={"unlabelled_subset": "unlabelled"}, **options)


def test_a_missing_split_is_named_with_its_flag(data, teacher):
    task, _, _ = build(data, teacher, "kd", task={"unlabelled_subset": "nosuch"})
    with pytest.raises(
        CannotStart, match="--unlabelled-subset: .* has no split nosuch: it has train, unlabelled"
    ):
        task.load_dataset("train", combine=True)


def test_a_regression_saves_the_scale_of_its_scores(tmp_path):
    data = write_data(tmp_path / "data", sentences=SPLITS, regression=True)
    meta = json.loads((data / "meta.json").read_text())
    (data / "meta.json").write_text(json.dumps(meta | {"score_scale": 5.0}))
    task, _, _ = build(data, write_teacher(tmp_path / "model.pt", classes=1), "kd")
    assert task.saved_settings()["score_scale"] == 5.0
