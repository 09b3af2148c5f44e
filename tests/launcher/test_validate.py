"""Checks of layers and flags before training, and the warning about unused flags."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import experiments
from launcher.datasets import Data
from launcher.planning.job import Job
from launcher.planning.prerequisites import NotReady
from launcher.planning.run_spec import RunSpec
from launcher.validate import check_flags_of


def write_checkpoint(path: Path, layers: int) -> None:
    """Write as much of one as the fake Python reads."""
    path.write_text(str(layers))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--init", "0,2,6"], "--init 0,2,6 names layer 6, and {} has 6 layers: name 0 to 5."),
        (["--mapping", "0:0,3:7"], "--mapping 0:0,3:7 reaches state 7, and {} has 6 layers: name 0 to 6."),
        (["--mapping", "top8"], "--mapping top8 reaches state 8, and {} has 6 layers: name 0 to 6."),
        (["--init", "1,3,5", "--mapping", "top6"], None),
        (["--init", "random:8", "--mapping", "1:6"], None),
        (["--init", "all", "--mapping", "skip"], None),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_layers_that_the_teacher_has_not_are_refused(call, teacher, tmp_path, capsys, given, sentence):
    write_checkpoint(teacher / "checkpoint_best.pt", 6)
    grid = [*call, "--method", "hidden_mse_learn", "--seeds", "1,2", *given]
    if sentence is None:
        assert experiments.main([*grid, "--dry-run"]) == 0
        return
    with pytest.raises(SystemExit) as stopped:
        experiments.main(grid)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == f"Cannot start: {sentence.format(teacher / 'checkpoint_best.pt')}\n"
    assert not (tmp_path / "runs").exists()


def test_layers_of_another_model_are_not_held_against_the_teacher(call, teacher, capsys):
    write_checkpoint(teacher / "checkpoint_best.pt", 6)
    grid = [*call, "--method", "hidden_mse_learn", "--init", "0,2,8", "--dry-run"]
    assert experiments.main([*grid, "--", "--init-from", "deep.pt"]) == 0
    with pytest.raises(SystemExit):
        experiments.main([*grid, "--mapping", "top8", "--", "--init-from", "deep.pt"])
    assert "--mapping top8 reaches state 8" in capsys.readouterr().err


def test_a_teacher_that_is_made_first_is_as_deep_as_its_model(call, data, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "pretrained.pt", 6)
    without = call[: call.index("--teacher")] + call[call.index("--teacher") + 2 :]
    (tmp_path / "teachers" / "MRPC" / "checkpoint_best.pt").unlink()
    (data / "MRPC-bin" / "input0").mkdir()
    with pytest.raises(SystemExit):
        experiments.main([*without, "--method", "kd", "--init", "6", "--pretrained", "pretrained.pt"])
    assert "--init 6 names layer 6, and pretrained.pt has 6 layers" in capsys.readouterr().err


def job(spec: RunSpec, *flags: str, method: str = "kd", folder: Path = Path(sys.executable).parent) -> Job:
    data = Data(Path("data"), 3668, "accuracy", ("valid",), "d")
    mapping = spec.mapping if method not in ("kd", "none", "hsk") else ""
    run = replace(spec, method=method, flags=flags, mapping=mapping, stage="one")
    return Job(run, Path("run"), data, str(folder / "fairseq-train"), True, Path("t.pt"), Path("t.pt"))


def test_a_flag_that_fairseq_does_not_have_is_told(spec):
    with pytest.raises(NotReady, match=r"\(unrecognized arguments: --hsk-kep 1l\)"):
        check_flags_of([job(spec, "--clip-norm", "1.0"), job(spec, "--hsk-kep", "1l", method="hsk")])


def test_runs_without_flags_are_not_asked_about(spec, monkeypatch):
    monkeypatch.delattr("subprocess.run")
    check_flags_of([job(spec), job(spec, method="none")])


def test_finished_runs_are_not_asked_about(spec, tmp_path, monkeypatch):
    monkeypatch.delattr("subprocess.run")
    (tmp_path / "result.json").write_text("{}")
    check_flags_of([replace(job(spec, "--clip-norm", "1.0"), folder=tmp_path)])


def test_runs_of_one_kind_are_asked_about_once(spec, monkeypatch):
    asked = []
    monkeypatch.setattr("launcher.validate._refusals", lambda jobs: asked.extend(jobs) or [])
    seeds = [job(replace(spec, seed=seed), "--clip-norm", "1.0") for seed in range(5)]
    check_flags_of([*seeds, job(spec, "--clip-norm", "1.0", method="hsk")])
    assert [job.spec.criterion for job in asked] == ["kd", "hsk"]


def test_a_python_that_cannot_tell_prevents_nothing(spec, tmp_path):
    (tmp_path / "python").write_text("#!/bin/sh\necho no; exit 1\n")
    (tmp_path / "python").chmod(0o755)
    check_flags_of([job(spec, "--no-such", folder=tmp_path)])


def test_flags_that_the_trainer_does_not_know_let_nothing_start(call, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FAKE_REFUSALS", '["it has no --no-such.", "", "it has no --no-such."]')
    command = [*call, "--method", "kd,none", "--seeds", "1,2", "--", "--no-such", "3"]
    with pytest.raises(SystemExit) as ended:
        experiments.main(command)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "Cannot start: it has no --no-such.\n"
    assert not (tmp_path / "runs").exists()


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
