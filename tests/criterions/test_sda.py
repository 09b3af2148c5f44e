"""Self-distillation: the times of its updates, its loss, and the model that is evaluated."""

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.evaluation.loaded_model import LoadedModel
from fairseq_kd.losses import cross_entropy, logits_mse
from fairseq_kd.models.checkpoint import read_checkpoint
from tests.runs import check_same_weights, checkpoint, train_by_two_workers, values_of
from tests.tiny import batch, build, train_command, train_here, write_data

STUDENT = "encoder.sentence_encoder.layers.1.fc1.weight"


@pytest.fixture
def sda(data, teacher):
    def make(**options):
        return build(data, None, "sda", model={"init_from": str(teacher)}, **options)

    return make


class Optimizer:
    """One that keeps no masters."""

    optimizer = None


def update(student, criterion, seed):
    """Update the student as the task does, by a random step."""
    criterion.before_update(Optimizer())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("form", ["average", "voted"])
def test_the_loss_is_that_of_the_labels_and_of_the_distance_to_the_past(sda, form):
    task, student, criterion = sda(sda_window="3", sda_form=form, inter_weight=1.5)
    sample = batch(task, [0, 3, 11])
    inputs = {**sample["net_input"], "classification_head_name": task.data.head}
    past = []
    for step in range(5):
        each, size, logged = criterion(student, sample, reduce=False)
        logits = student(**inputs)[0]
        expected = cross_entropy(logits, sample["target"])
        if past:
            models = past[-3:]
            if form == "average":
                models = [{name: torch.stack([m[name] for m in models]).mean(dim=0) for name in past[0]}]
            answers = [torch.func.functional_call(student, model, kwargs=inputs)[0] for model in models]
            teacher = torch.stack(answers).mean(dim=0)
            expected = expected + 1.5 * logits_mse(logits, teacher)
            assert logged["term_sda"] > 0
        else:
            assert logged["term_sda"] == 0
        assert_close(each, expected, rtol=1e-4, atol=1e-5)
        assert size == 3
        past.append({name: p.detach().clone() for name, p in student.named_parameters()})
        update(student, criterion, step)


@pytest.mark.parametrize("options", [{"sda_window": "2"}, {"sda_window": "2", "sda_form": "voted"}])
def test_a_sentence_does_not_depend_on_its_batch(sda, options):
    task, student, criterion = sda(**options)
    update(student, criterion, 0)
    update(student, criterion, 1)
    together = criterion(student, batch(task, [0, 3, 11]), reduce=False)[0]
    alone = [criterion(student, batch(task, [index]), reduce=False)[0] for index in (0, 3, 11)]
    assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_the_past_gets_no_gradient_and_is_in_eval_mode(data, teacher):
    task, student, criterion = build(data, None, "sda", model={"init_from": str(teacher), "dropout": 0.5})
    sample = batch(task, [0, 3])
    update(student, criterion, 0)
    first, again = (criterion.sda.signals(sample, criterion.student_wanted).logits for _ in range(2))
    assert torch.equal(first, again)
    assert not first.requires_grad

    torch.manual_seed(1)
    criterion(student, sample)[0].backward()
    assert student.training
    found = {name: p.grad.clone() for name, p in student.named_parameters() if p.requires_grad}
    student.zero_grad()
    torch.manual_seed(1)
    own = student(**sample["net_input"], classification_head_name=task.data.head)[0]
    (cross_entropy(own, sample["target"]) + logits_mse(own, first)).sum().backward()
    for name, gradient in found.items():
        assert_close(gradient, dict(student.named_parameters())[name].grad, rtol=1e-4, atol=1e-6)


def test_without_its_own_term_it_is_fine_tuning(sda):
    task, student, criterion = sda(inter_weight=0.0)
    update(student, criterion, 0)
    assert criterion.sda is None
    assert "term_sda" not in criterion(student, batch(task, [0]))[2]


def test_another_teacher_can_be_used_too(data, teacher):
    task, student, criterion = build(data, teacher, "sda", soft_weight=0.5)
    logged = criterion(student, batch(task, [0]))[2]
    assert {"term_hard", "term_soft", "term_sda"} <= logged.keys()


@pytest.mark.parametrize("form", [{"sda_window": "all"}, {"sda_form": "ema"}])
def test_validation_evaluates_the_average_if_requested(sda, form):
    task, student, criterion = sda(sda_evaluate="average", inter_weight=0.0, **form)
    sample = batch(task, [0, 3, 11])
    student.eval(), criterion.eval()
    before = criterion(student, sample, reduce=False)[0]
    for step in range(4):
        update(student, criterion, step)
    found = criterion(student, sample, reduce=False)[0]
    past = criterion.sda.signals(sample, criterion.student_wanted).logits
    assert_close(found, cross_entropy(past, sample["target"]))
    assert not torch.allclose(found, before)

    student.train(), criterion.train()
    own = student(**sample["net_input"], classification_head_name=task.data.head)[0]
    assert_close(criterion(student, sample, reduce=False)[0], cross_entropy(own, sample["target"]))


def test_an_evaluated_average_is_not_compared_with_itself(sda):
    task, student, criterion = sda(sda_evaluate="average", sda_window="2")
    sample = batch(task, [0, 3, 11])
    for step in range(2):
        assert "term_sda" in criterion(student, sample)[2]
        update(student, criterion, step)
    student.eval(), criterion.eval()
    logged = criterion(student, sample)[2]
    assert "term_sda" not in logged
    assert_close(logged["loss"], logged["term_hard"])
    assert "sda" not in criterion.metric_names()
    assert "sda" in sda()[2].metric_names()


# whole runs


def train(data, teacher, folder, *flags):
    start = ("--init-from", str(teacher), "--init-layers", "0,3")
    return train_command(data, folder, "--criterion", "sda", *start, *flags)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("window", "precision"),
    [
        ("all", "--lr 1e-2"),
        ("3", "--lr 1e-2 --memory-efficient-fp16 --fp16"),
        ("2", "--lr 1e-2 --optimizer adam"),
        ("3", "--lr 1e-2 --update-freq 2 --batch-size 4 --sda-host"),
    ],
)
def test_at_every_update_the_average_equals_one_computed_by_hand(data, teacher, tmp_path, window, precision):
    flags = f"--max-update 6 --save-interval-updates 1 --sda-window {window}"
    rows = train_here(train(data, teacher, tmp_path, flags, precision))
    assert [values["sda"] > 0 for values in values_of(rows, "train_inner")] == [False] + 5 * [True]

    saved = [checkpoint(tmp_path, f"checkpoint_1_{step}.pt") for step in range(1, 7)]
    half = "--fp16" in precision
    # Of fp16 weights, a checkpoint's model holds the rounded values and not what is averaged.
    tolerance = {"rtol": 0, "atol": 2e-3 if half else 1e-6}
    reach = 6 if window == "all" else int(window)
    for update in range(2, 7):
        state = saved[update - 1]["criterion"]
        assert state["sda.pushed"] == update
        past = state[f"sda.past.{STUDENT}"]
        assert past.dtype == torch.float32
        if update >= reach + 1 or window == "all":
            # The checkpoint after update u holds theta_{u-1}, theta_{u-2}, ..; theta_0 was never saved.
            sets = [saved[u - 1]["model"][STUDENT] for u in range(max(1, update - reach), update)]
            if window == "all":
                sets.append(read_checkpoint(str(teacher), "--teacher").weights[STUDENT.replace(".1.", ".3.")])
            assert_close(past.mean(dim=0), torch.stack(sets).mean(dim=0), **tolerance)
    names = {name.removeprefix("sda.past.") for name in state if name.startswith("sda.past.")}
    assert names == set(saved[0]["model"])


@pytest.mark.slow
def test_an_overflow_is_not_remembered(data, teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)  # fairseq calls it there with --cpu, too
    flags = f"--fp16 --fp16-no-flatten-grads --fp16-init-scale {2**19} --max-epoch 2"
    train_here(train(data, teacher, tmp_path, flags))
    saved = checkpoint(tmp_path)
    updates = saved["optimizer_history"][-1]["num_updates"]
    assert 0 < updates < 16
    assert saved["criterion"]["sda.pushed"] == updates


@pytest.mark.slow
def test_a_checkpoint_predicts_with_the_average(data, teacher, tmp_path):
    flags = "--sda-window all --sda-evaluate average --inter-weight 0 --lr 1e-2 --max-epoch 3"
    rows = train_here(train(data, teacher, tmp_path, flags))
    accuracy = [values["valid_accuracy"] for values in values_of(rows, "valid")]

    read = read_checkpoint(str(tmp_path / "checkpoint_last.pt"), "--checkpoint")
    saved = checkpoint(tmp_path)
    assert torch.equal(read.weights[STUDENT], saved["criterion"][f"sda.past.{STUDENT}"][0])
    assert not torch.allclose(read.weights[STUDENT], saved["model"][STUDENT])

    model = LoadedModel.of(read, data)
    [(_, found)] = model.predict(["valid"], torch.device("cpu"))
    score = 100 * (found.logits.argmax(axis=1) == found.labels).mean()
    assert score == pytest.approx(accuracy[-1], abs=1e-3)


@pytest.mark.slow
def test_two_workers_equal_one(tmp_path, teacher):
    data = write_data(tmp_path / "data", sentences=[("train", 60), ("valid", 39)])
    flags = "--max-epoch 1 --sda-window 2 --adam-eps 0.1 --lr 1e-2 --batch-size 4"
    train_here(train(data, teacher, tmp_path / "one", flags, "--update-freq", "2"))
    train_by_two_workers(train(data, teacher, tmp_path / "two", flags), "--ddp-backend", "pytorch_ddp")

    found, expected = (checkpoint(tmp_path / name)["criterion"]["sda.pushed"] for name in ("two", "one"))
    assert found == expected == 8
    check_same_weights(tmp_path / "two", tmp_path / "one", rtol=1e-3, atol=1e-4)
