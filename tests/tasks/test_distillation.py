"""Start-up, checks and logs of a task, whatever its data; `test_start_up.py` checks who knows whom."""

import importlib

import pytest
from fairseq.logging import progress_bar
from omegaconf import OmegaConf

from fairseq_kd.errors import CannotStart
from fairseq_kd.metrics import HIGHER_IS_BETTER, metric_names
from tests.tiny import build, distil_command, train_here, write_data, write_teacher


def test_several_errors_are_raised_together(data, tmp_path):
    teacher = write_teacher(tmp_path / "model.pt", classes=None)
    with pytest.raises(CannotStart) as raised:
        build(data, teacher, "att_mse_hidden_mse", mapping="2:9")
    assert str(raised.value).startswith("Cannot start distillation:\n  --teacher")
    assert "has no classification head" in str(raised.value)
    assert "--mapping 2:9 names teacher state 9" in str(raised.value)


def test_a_loaded_model_has_the_order_of_classes_of_the_data(data, teacher):
    """As fairseq-validate loads it, without reordering."""
    task, _, _ = build(data, teacher, "kd")
    with pytest.raises(CannotStart, match="the model has the classes 1, 0 in this order"):
        task.build_model(OmegaConf.create({"class_names": ["1", "0"]}), from_checkpoint=True)


def test_every_metric_of_labels_has_a_direction():
    assert metric_names(2, False) | metric_names(3, False) | metric_names(1, True) == HIGHER_IS_BETTER


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "maximize", "found"),
    [
        ("accuracy", False, "higher.*: add --maximize-best-checkpoint-metric"),
        ("mcc", False, "higher"),
        ("loss", True, "lower, so --maximize-best-checkpoint-metric .*: remove"),
        ("soft", True, "lower"),
    ],
)
def test_the_worst_checkpoint_is_not_kept(data, teacher, metric, maximize, found):
    given = {"best_checkpoint_metric": metric, "maximize_best_checkpoint_metric": maximize}
    with pytest.raises(CannotStart, match=f"--best-checkpoint-metric {metric} is better if {found}"):
        build(data, teacher, "kd", task=given)
    build(data, teacher, "kd", task={**given, "maximize_best_checkpoint_metric": not maximize})


@pytest.mark.parametrize(
    ("metric", "weights", "logged"),
    [("f2", {}, "accuracy, f1, hard, hidden, loss, mcc, soft"),
     ("accuracy", {"hard_weight": 0.0, "soft_weight": 0.0}, "hidden, loss")],
)  # fmt: skip
def test_the_best_checkpoint_is_that_of_a_logged_metric(data, teacher, metric, weights, logged):
    with pytest.raises(CannotStart, match=f"-metric {metric} is not logged here: choose from {logged}"):
        build(data, teacher, "hidden_mse_learn", task={"best_checkpoint_metric": metric}, **weights)


@pytest.mark.slow
def test_a_teacher_of_another_task_is_a_warning(data, teacher, tmp_path, caplog):
    train_here(distil_command(data, tmp_path / "teacher", teacher, "kd", "--max-update 1"))
    assert "was fine-tuned on" not in caplog.text

    other = write_data(tmp_path / "OTHER-bin")
    (other / "meta.json").write_text((other / "meta.json").read_text().replace('"TINY"', '"OTHER"'))
    build(other, tmp_path / "teacher" / "checkpoint_last.pt", "kd", layers="all")
    assert "was fine-tuned on TINY, but" in caplog.text


STUB = """
calls = []
def init(**given): calls.append(("init", given))
def log(values, step): calls.append((step, values))
class config:
    update = staticmethod(lambda *_, **__: None)
"""


@pytest.mark.slow
def test_trackers_get_every_term_of_the_method(data, teacher, tmp_path, monkeypatch):
    (tmp_path / "wandb.py").write_text(STUB)
    (tmp_path / "tensorboard.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    wandb = importlib.import_module("wandb")
    monkeypatch.setattr(progress_bar, "wandb", wandb)
    scalars = {}

    class Writer:
        def __init__(self, folder):
            self.seen = scalars.setdefault(folder, set())

        def add_scalar(self, name, *_):
            self.seen.add(name)

        def add_text(self, *_):
            pass

        flush = close = lambda self: None

    monkeypatch.setattr(progress_bar, "SummaryWriter", Writer)
    monkeypatch.setattr(progress_bar, "_tensorboard_writers", {})
    logs = ("--wandb-project", "distil", "--tensorboard-logdir", "tb")
    train_here(distil_command(data, tmp_path / "my-run", teacher, "att_kl_learn", *logs))

    starts = [given for step, given in wandb.calls if step == "init"]
    assert {(given["project"], given["name"]) for given in starts} == {("distil", "my-run")}
    logged = {name for step, values in wandb.calls if step != "init" for name in values}
    own = {"attention", "hard", "soft", "accuracy"}
    assert {f"train_inner/{name}" for name in own} | {f"valid/{name}" for name in own} <= logged
    assert scalars["tb/train_inner"] >= own
    assert scalars["tb/valid"] >= own


@pytest.mark.parametrize(
    ("option", "packages"),
    [("tensorboard_logdir", ["tensorboard", "tensorboardX"]), ("wandb_project", ["wandb"])],
)
def test_a_tracker_without_its_package_is_refused(data, teacher, monkeypatch, option, packages):
    found = dict.fromkeys(["tensorboard", "tensorboardX", "wandb"])
    monkeypatch.setattr("importlib.util.find_spec", found.__getitem__)
    flag = "--" + option.replace("_", "-")
    with pytest.raises(CannotStart, match=f"{flag} tb needs a package .*: `pip install {packages[0]}`"):
        build(data, teacher, "kd", task={option: "tb"})
    found[packages[-1]] = "there"
    build(data, teacher, "kd", task={option: "tb"})
