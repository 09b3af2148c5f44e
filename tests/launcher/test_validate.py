"""Checks of layers and flags before training, and the warning about unused flags."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import experiments
from fairseq_kd.tasks.check_flags import refusal
from launcher.config import Grid, GridConfig
from launcher.datasets import Data
from launcher.planning.expand import plan
from launcher.planning.job import Job
from launcher.planning.prerequisites import NotReady
from launcher.planning.run_spec import RunSpec
from launcher.validate import check_flags, without_unlabelled


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("--init 0,2,6", "--init 0,2,6 contains layer 6, and {} has 6 layers: name 0 to 5."),
        ("--mapping 0:0,3:7", "--mapping 0:0,3:7 contains state 7, and {} has 6 layers: name 0 to 6."),
        ("--mapping top8", "--mapping top8 contains state 8, and {} has 6 layers: name 0 to 6."),
        ("--mapping 1:7 --init 8 -- --init-from a", "--mapping 1:7 contains state 7, and {} has 6 layers: name 0 to 6."),
        ("--init 1,3,5 --mapping top6", None),
        ("--init random:8 --mapping 1:6", None),
        ("--init all --mapping skip", None),
        ("--init 0,2,8 -- --init-from deep.pt", None),
        ("--method kd --mapping top8", None),
    ],
)  # fmt: skip
def test_layers_that_the_teacher_lacks_are_refused(call, teacher, tmp_path, refused, given, sentence):
    checkpoint = teacher / "checkpoint_best.pt"
    checkpoint.write_text("6")
    method = [] if "--method" in given else ["--method", "hidden_mse_learn"]
    grid = [*call, *method, "--dry-run", *given.split()]
    if sentence is None:
        assert experiments.main(grid) == 0
        return
    assert refused(*grid) == f"Cannot start: {sentence.format(checkpoint)}\n"
    assert not (tmp_path / "runs").exists()


def test_a_teacher_that_cannot_be_read_is_refused(call, trainer, refused):
    python = trainer.with_name("python")
    problem = 'dict(problem="the model is damaged.") or {"layers"'
    python.write_text(python.read_text().replace('{"layers"', problem))
    assert refused(*call, "--method", "kd", "--dry-run") == "Cannot start: the model is damaged.\n"


def job(spec: RunSpec, method: str = "kd", folder: Path = Path(sys.executable).parent, **overrides) -> Job:
    data = Data(Path("data"), 3668, "accuracy", ("valid",), "d")
    given = {f"--{name.replace('_', '-')}": value for name, value in overrides.items()}
    run = replace(spec, method=method, overrides=given, mapping="", stage="one")
    return Job(run, Path("run"), data, str(folder / "fairseq-train"), True, Path("t.pt"), Path("t.pt"))


@pytest.mark.slow
def test_a_flag_that_fairseq_does_not_have_is_refused(spec, monkeypatch):
    def run_module(python, module, text):
        assert module == "tasks.check_flags"
        return [refusal(flags) for flags in json.loads(text)]

    monkeypatch.setattr("launcher.validate.run_module", run_module)
    with pytest.raises(NotReady, match=r"\(unrecognized arguments: --hsk-kep 1l\)"):
        check_flags([job(spec, clip_norm="1.0"), job(spec, "hsk", hsk_kep="1l")])


def test_only_unfinished_runs_with_flags_are_checked_once_for_each_kind(spec, tmp_path, monkeypatch):
    checked = []

    def run_module(python, module, text):
        checked.extend(json.loads(text))
        return []

    monkeypatch.setattr("launcher.validate.run_module", run_module)
    (tmp_path / "result.json").write_text("{}")
    check_flags([job(spec), job(spec, "none"), replace(job(spec, clip_norm="1.0"), folder=tmp_path)])
    assert checked == []
    seeds = [job(replace(spec, seed=seed), clip_norm="1.0") for seed in range(5)]
    check_flags([*seeds, job(spec, "hsk", clip_norm="1.0")])
    assert [command[command.index("--criterion") + 1] for command in checked] == ["kd", "hsk"]


def test_a_check_that_fails_prevents_nothing(spec, tmp_path):
    (tmp_path / "python").write_text("#!/bin/sh\necho no; exit 1\n")
    (tmp_path / "python").chmod(0o755)
    check_flags([job(spec, folder=tmp_path, no_such=True)])


def test_flags_that_the_trainer_refuses_let_nothing_start(call, tmp_path, monkeypatch, refused):
    monkeypatch.setenv("FAKE_REFUSALS", '["it has no --no-such.", "", "it has no --no-such."]')
    error = refused(*call, "--method", "kd,none", "--seeds", "1,2", "--", "--no-such", "3")
    assert error == "Cannot start: it has no --no-such.\n"
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "unused"),
    [
        ("--method hidden_mse_learn --stage1-epochs 3 --stage one", "--stage1-epochs"),
        ("--method none --stage1-epochs 3 --teacher-cache c", "--stage1-epochs, --teacher-cache"),
        ("--method kd,sda --stage two", "--stage"),
        ("--method none --stage one,two", "--stage"),
        ("--method kd,sda --teacher-cache c --stage one", ""),
        ("--method hidden_mse_learn --stage1-epochs 3 --teacher-cache c --mapping skip --stage one,two", ""),
        ("--method none,hidden_mse_learn --stage1-epochs 3 --teacher-cache c --stage two", ""),
        ("--method none -- --temperature 4 --soft-weight=0.7", "--temperature, --soft-weight"),
        ("--method none,kd -- --temperature 4", ""),
        ("--method kd,sda -- --hsk-keep 1l --bf16", "--hsk-keep"),
        ("--method kd --teacher-epochs 3 --teacher-lr 1e-4", "--teacher-epochs, --teacher-lr"),
        ("-e finetune --models TEACHER --teacher-cache c", "--teacher, --teacher-cache"),
        ("--grid GRID", ""),
        ("--grid GRID --method none", "--mapping, --temperature"),
        # The words of the published launcher.
        ("-e method_specific -s two_stage --method kd --mapping skip --init 3,7,11", "--mapping, --stage"),
        ("-e method_specific -s two_stage --method crd --mapping skip --init 3,7,11", "--mapping"),
        ("-e method_specific -s two_stage --method att_kl_learn --mapping skip --init 3,7,11", ""),
    ],
)
def test_flags_that_no_run_uses_are_named_once(call, teacher, tmp_path, words, unused, capsys):
    grid = tmp_path / "grid.yaml"
    grid.write_text("method: [none, hidden_mse_learn]\nmapping: skip\nflags: {temperature: 4}\n")
    words = words.replace("TEACHER", str(teacher)).replace("GRID", str(grid))
    assert experiments.main([*call, "--dry-run", *words.split()]) == 0
    assert capsys.readouterr().err == (f"Warning: no run of this grid uses {unused}.\n" if unused else "")


def test_methods_that_learn_from_labelled_sentences_only_are_named(methods):
    grid = Grid(
        GridConfig(task=["MRPC"], method=["none", "kd", "crd"], seeds=[1], unlabelled_subset="u"), methods
    )
    data = Data(Path("d"), 3668, "accuracy", ("valid",), "d", splits={"train": 3668, "u": 10})
    runs = plan(grid, {"MRPC": data}, {"MRPC": "t"}, {})
    jobs = [Job(run, Path("r"), data, "t", True, Path("t.pt")) for run in runs]
    assert without_unlabelled(grid, jobs) == ["crd"]
    assert without_unlabelled(replace(grid, config=replace(grid.config, unlabelled_subset=None)), jobs) == []


@pytest.mark.parametrize(
    ("epochs", "more", "noted"), [(4, [], True), (2, [], False), (4, ["--teacher-cache", "c"], False)]
)
def test_a_cache_is_suggested_if_teachers_repeat_many_sentences(call, capsys, epochs, more, noted):
    """Two runs of `none` and six with a teacher: 6 x 3 x 3,668 repeated sentences, or with 2 epochs a third."""
    grid = ["--method", "none,kd,att_kl_learn", "--seeds", "1,2", "--epochs", str(epochs), "--dry-run"]
    assert experiments.main([*call, *grid, *more]) == 0
    note = "Note: the teacher computes the training data 24 times; with --teacher-cache DIR"
    assert (note in capsys.readouterr().err) == noted
