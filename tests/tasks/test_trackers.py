"""--tensorboard-logdir and --wandb-project get the method's own terms, under the name of the run directory."""

import importlib

import pytest
from fairseq.logging import progress_bar

from fairseq_kd.errors import CannotStart
from tests.tiny import build, distil_command, train_here

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
    with pytest.raises(
        CannotStart, match=f"--{option.replace('_', '-')} tb needs a package .*: `pip install {packages[0]}`"
    ):
        build(data, teacher, "kd", task={option: "tb"})
    found[packages[-1]] = "there"
    build(data, teacher, "kd", task={option: "tb"})
