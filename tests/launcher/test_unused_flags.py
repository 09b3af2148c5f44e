"""A flag without effect is named in one warning, and refused nowhere."""

import json
import shutil
from pathlib import Path

import pytest

import experiments

TASKS = ("mnli", "qnli", "qqp", "rte", "sst-2", "mrpc", "cola")
METHODS = ("kd", "crd", "hidden_mse_learn", "hidden_mse_token", "att_kl_learn", "att_mse_learn")

HIDDEN, KD, NONE = (("--method", method) for method in ("hidden_mse_learn", "kd,sda", "none"))
CACHE, FIRST = ("--teacher-cache", "c"), ("--stage1-epochs", "3")


@pytest.fixture
def all_tasks(data: Path, teacher: Path) -> list[str]:
    """Data and teachers of the published tasks."""
    for name in ("MNLI", "QNLI", "QQP", "RTE", "SST-2", "MRPC", "CoLA"):
        folder = data / f"{name}-bin"
        folder.mkdir(exist_ok=True)
        meta = {"task": name, "metric": "accuracy", "splits": {"train": {"sentences": 2490}, "valid": {}}}
        (folder / "meta.json").write_text(json.dumps(meta))
        if name != teacher.name:
            shutil.copytree(teacher, teacher.parent / name)
    return ["--data", str(data), "--teacher", f"{teacher.parent}/{{task}}"]


@pytest.mark.parametrize("method", METHODS)
def test_the_words_of_the_published_launcher_are_planned(call, all_tasks, method, capsys):
    words = ["-e", "method_specific", "-s", "two_stage", "--mapping", "skip", "--init", "3,7,11"]
    for task in TASKS:
        given = ["--task", task, "--method", method, *words, "--group", "g", "--seeds", "1", "--dry-run"]
        assert experiments.main([*call[2:], *all_tasks, *given]) == 0
        told = capsys.readouterr()
        runs = [line for line in told.out.splitlines() if line.startswith("# ")][:-1]
        assert len(runs) == (1 if method == "kd" else 2), told.out
        unused = {"kd": "--mapping, --stage", "crd": "--mapping"}.get(method)
        assert told.err == (f"Warning: no run of this grid uses {unused}.\n" if unused else "")


@pytest.mark.parametrize(
    ("words", "unused"),
    [
        ((*HIDDEN, *FIRST, "--stage", "one"), "--stage1-epochs"),
        ((*NONE, *FIRST, *CACHE), "--stage1-epochs, --teacher-cache"),
        ((*KD, "--stage", "two"), "--stage"),
        ((*NONE, "--stage", "one,two"), "--stage"),
        ((*KD, *CACHE, "--stage", "one"), ""),
        ((*HIDDEN, *FIRST, *CACHE, "--mapping", "skip", "--stage", "one,two"), ""),
        (("--method", "none,hidden_mse_learn", *FIRST, *CACHE, "--stage", "two"), ""),
        ((*NONE, "--", "--temperature", "4", "--soft-weight=0.7"), "--temperature, --soft-weight"),
        (("--method", "none,kd", "--", "--temperature", "4"), ""),
        ((*KD, "--", "--hsk-keep", "1l", "--bf16"), "--hsk-keep"),
        ((*KD, "--teacher-epochs", "3", "--teacher-lr", "1e-4"), "--teacher-epochs, --teacher-lr"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_flags_that_no_run_uses_are_named_once(call, words, unused, capsys):
    assert experiments.main([*call, "--dry-run", *words]) == 0
    assert capsys.readouterr().err == (f"Warning: no run of this grid uses {unused}.\n" if unused else "")


def test_a_teacher_is_not_used_by_fine_tuning(call, teacher, capsys):
    words = ["-e", "finetune", "--models", str(teacher), *CACHE, "--dry-run"]
    assert experiments.main([*call, *words]) == 0
    assert capsys.readouterr().err == "Warning: no run of this grid uses --teacher, --teacher-cache.\n"


def test_flags_of_a_grid_file_are_named_too(call, tmp_path, capsys):
    grid = tmp_path / "grid.yaml"
    grid.write_text("method: [none, hidden_mse_learn]\nmapping: skip\nflags: {temperature: 4}\n")
    assert experiments.main([*call, "--grid", str(grid), "--dry-run"]) == 0
    assert capsys.readouterr().err == ""
    assert experiments.main([*call, "--grid", str(grid), "--method", "none", "--dry-run"]) == 0
    assert capsys.readouterr().err == "Warning: no run of this grid uses --mapping, --temperature.\n"
