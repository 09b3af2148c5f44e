"""Flags that fairseq-train does not take are told before anything is trained."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

import experiments
from launcher.job import Job
from launcher.known_flags import check_flags_of
from launcher.spec import RunSpec
from launcher.supplies import NotReady

TOLD = ("--user-dir", "fairseq_kd", "--task", "sentence_prediction_kd", "--arch", "roberta_student")


def job(spec: RunSpec, *flags: str, method: str = "kd", folder: Path = Path(sys.executable).parent) -> Job:
    command = (str(folder / "fairseq-train"), "data", *TOLD, "--criterion", method, *flags)
    return Job(replace(spec, method=method, flags=flags), Path("run"), command, "accuracy", 10)


def test_a_flag_that_fairseq_does_not_have_is_told(spec):
    with pytest.raises(NotReady, match=r"\(unrecognized arguments: --hsk-kep 1l: give --hsk-keep\)"):
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
    monkeypatch.setattr("launcher.known_flags._refusals", lambda commands: asked.extend(commands) or [])
    seeds = [job(replace(spec, seed=seed), "--clip-norm", "1.0") for seed in range(5)]
    check_flags_of([*seeds, job(spec, "--clip-norm", "1.0", method="hsk")])
    assert [command[command.index("--criterion") + 1] for command in asked] == ["kd", "hsk"]


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
