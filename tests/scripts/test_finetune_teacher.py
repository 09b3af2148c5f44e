"""`scripts/finetune_teacher.py`: a teacher from a model and data, once; other settings need another folder."""

import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from fairseq_kd.models.checkpoint import read_checkpoint
from scripts.finetune_teacher import main
from tests.convert.conftest import labelled
from tests.processes import Process, programs, wait_until
from tests.tiny import ROOT, write_teacher

SCRIPT = ROOT / "scripts" / "finetune_teacher.py"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return labelled(tmp_path / "RTE-bin", task="RTE")


@pytest.fixture
def call(tmp_path: Path, data: Path) -> list[str]:
    model = write_teacher(tmp_path / "model" / "model.pt", classes=None)
    given = {"--data": data, "--model": model.parent, "--out": tmp_path / "teacher", "--epochs": 2}
    return ["--cpu", *(text for flag, value in given.items() for text in (flag, str(value)))]


@pytest.mark.slow
def test_a_model_becomes_a_teacher(call, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    call += ["--trainer", str(programs() / "fairseq-train")]
    assert main([*call, "--", "--num-workers", "0"]) == 0
    output = capsys.readouterr().out
    assert "\ndev loss" in output
    line = r"^  update (\d+) of 8, (\d+) s, (\d+) s left: dev loss .*accuracy \d"
    (half, seconds, left), end = re.findall(line, output, re.MULTILINE)
    assert (half, left) == ("4", seconds)
    assert end[::2] == ("8", "0")
    assert "best accuracy, update" in output

    out = tmp_path / "teacher"
    result = json.loads((out / "result.json").read_text())
    assert result["spec"] | {"task": "RTE", "batch_size": 16, "lr": 2e-5, "seed": 1} == result["spec"]
    assert set(result["at_best"]["valid"]) >= {"accuracy", "f1", "mcc", "hard"}
    assert "--init-layers all --criterion kd --opt" in (out / "command.txt").read_text()
    assert (out / "command.txt").read_text().endswith("--hard-weight 1 --soft-weight 0\n")
    assert (out / "dict.txt").read_bytes() == (data / "input0" / "dict.txt").read_bytes()

    assert (out / "predictions" / "valid.npz").is_file()
    assert not result["spec"]["start"]

    teacher = read_checkpoint(str(out), "--teacher")
    assert teacher.path.name == "checkpoint_best.pt"
    assert teacher.classes("sentence_classification_head") == 2

    # As an earlier version wrote it, which knew fewer settings.
    spec = json.loads((out / "spec.json").read_text())
    (out / "spec.json").write_text(json.dumps({key: value for key, value in spec.items() if key != "start"}))
    trained = (out / "checkpoint_best.pt").stat().st_mtime_ns
    assert main([*call, "--", "dataset.num_workers=0"]) == 0
    assert "best accuracy, update" in capsys.readouterr().out
    assert (out / "checkpoint_best.pt").stat().st_mtime_ns == trained

    assert main([*call, "--lr", "1e-4", "--", "--num-workers", "0"]) == 2
    assert "has a training with another lr (2e-05, now 0.0001)" in capsys.readouterr().err


@pytest.mark.slow
def test_a_try_that_failed_before_training_does_not_block_the_next(call, tmp_path, capsys):
    assert main([*call, "--lr", "1e-3", "--trainer", shutil.which("false")]) == 1
    assert "Training failed: exit status 1" in capsys.readouterr().err
    assert main([*call, "--lr", "1e-4", "--trainer", shutil.which("true")]) == 1
    assert "its log contains no validation" in capsys.readouterr().err
    assert json.loads((tmp_path / "teacher" / "spec.json").read_text())["lr"] == 1e-4


@pytest.mark.parametrize("begun", ["checkpoint_last.pt", "checkpoint_best.pt", "result.json"])
def test_a_training_with_other_settings_is_kept(call, tmp_path, capsys, begun):
    main([*call, "--lr", "1e-3", "--trainer", shutil.which("false")])
    (tmp_path / "teacher" / begun).touch()
    assert main([*call, "--lr", "1e-4"]) == 2
    assert "has a training with another lr (0.001, now 0.0001)" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_stopping_it_stops_the_training(call, tmp_path, number):
    hanging = tmp_path / "hanging-train"
    hanging.write_text(f"#!/bin/sh\ncd {tmp_path}; echo $$ > new; mv new pid; exec sleep 60")
    hanging.chmod(0o755)
    script = Process(["python", SCRIPT, *call, "--trainer", hanging])
    wait_until((tmp_path / "pid").exists)

    script.send_signal(number)
    assert script.wait(30) == 130
    assert "Interrupted: the same command continues from here." in script.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("--data nowhere", "Cannot start: --data nowhere has no meta.json: give a folder <TASK>-bin of"),
        ("--model nowhere", "Cannot start: --model nowhere does not exist: give a checkpoint"),
        (f"--out {SCRIPT}", f"--out {SCRIPT} cannot be made: {SCRIPT} is no folder"),
        ("--trainer no-such-program", "--trainer no-such-program is not a program"),
        ("-- --init-from x --restore-file y", "contain --init-from, --restore-file, which this program sets"),
    ],
)
def test_wrong_arguments_are_an_error(call, capsys, given, sentence):
    assert main([*call, *given.split()]) == 2
    assert sentence in capsys.readouterr().err


@pytest.fixture
def faked(tmp_path: Path) -> list[str]:
    """Return arguments with a trainer that trains nothing, beside a Python that fails to predict."""
    folder = tmp_path / "bin"
    folder.mkdir()
    log = """| valid | {"epoch": 1, "valid_accuracy": "71", "valid_num_updates": "4"}"""
    programs = {
        "fake-train": f"echo '{log}'; touch {tmp_path}/teacher/checkpoint_best.pt",
        "python": """[ "$1" = -c ] && echo '{"versions": {}, "gpu": null}' && exit; exit 3""",
    }
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return ["--trainer", str(folder / "fake-train")]


def test_missing_predictions_are_a_reported_failure(call, faked, tmp_path, capsys):
    assert main([*call, *faked]) == 1
    said = capsys.readouterr()
    assert said.err == f"no predictions, exit status 3: see {tmp_path / 'teacher' / 'log.txt'}\n"
    assert f"Teacher: {tmp_path / 'teacher' / 'checkpoint_best.pt'}" in said.out


@pytest.mark.slow
def test_unknown_fairseq_flags_are_an_error_before_anything_is_written(call, tmp_path, capsys):
    call += ["--trainer", str(programs() / "fairseq-train")]
    assert main([*call, "--", "--no-such-flag", "3"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert re.match(r"Cannot start: .*unrecognized arguments: --no-such-flag 3.*: correct the flags", line)
    assert not (tmp_path / "teacher").exists()


def test_an_interruption_before_training_is_reported(call, capsys, monkeypatch):
    def interrupted(jobs):
        raise KeyboardInterrupt

    monkeypatch.setattr("scripts.finetune_teacher.check_flags", interrupted)
    assert main(call) == 130
    assert capsys.readouterr().err == "Interrupted: the same command continues from here.\n"


def test_data_of_an_invalid_task(call, data, capsys):
    path = data / "meta.json"
    path.write_text(path.read_text().replace('"RTE"', '"no name"'))
    assert main(call) == 2
    assert "'no name' is not a task: choose among CoLA" in capsys.readouterr().err
