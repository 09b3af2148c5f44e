"""Missing teachers are made once for each task, and missing data before the runs are planned."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import experiments
from tests.launcher.run_directories import wait_for

ROOT = Path(__file__).parents[3]
KD = ["--method", "kd", "--seeds", "1"]


@pytest.fixture
def home(tmp_path, monkeypatch, trainer, data) -> Path:
    """Make a folder with data, a pre-trained model in models/ and no teacher, and change into it."""
    for task in ("MRPC", "MNLI"):
        (data / f"{task}-bin" / "input0").mkdir()
        (data / f"{task}-bin" / "input0" / "dict.txt").write_text("word 1\n")
    (tmp_path / "models" / "minilm").mkdir(parents=True)
    (tmp_path / "models" / "minilm" / "model.pt").write_bytes(b"pre-trained")
    (tmp_path / "models" / "minilm" / "vocab.txt").write_text("word\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def bare(trainer) -> list[str]:
    """Return a call that names neither data nor teacher."""
    return ["--task", "mrpc", "--cpu", "--epochs", "1", "--teacher-epochs", "2", "--trainer", str(trainer)]


def commands(output: str) -> list[str]:
    return [line for line in output.splitlines() if not line.startswith("#")]


@pytest.mark.slow
def test_a_teacher_is_made_once_and_its_students_come_after_it(home, bare, capsys):
    grid = [*bare, "--method", "kd,hidden_mse_learn", "--seeds", "1,2", "--jobs", "3"]
    assert experiments.main([*grid, "--dry-run"]) == 0
    planned = capsys.readouterr().out
    assert not (home / "runs").exists()
    assert planned.endswith("# 1 teacher and 6 runs in runs/teachers and runs/default, 3 at a time\n")
    assert experiments.main(grid) == 0

    [teacher] = (home / "runs" / "teachers").iterdir()
    assert (teacher / "dict.txt").read_text() == "word 1\n"
    assert "--init-from models/minilm/model.pt --init-layers all" in (teacher / "command.txt").read_text()
    assert "--max-epoch 2" in (teacher / "command.txt").read_text()
    students = [folder for folder in (home / "runs" / "default").iterdir() if folder.is_dir()]
    assert len(students) == 2 + 2 * 2
    digest = teacher.name.rpartition("-")[2]
    for student in students:
        assert json.loads((student / "spec.json").read_text())["teacher"] == digest
        assert (
            f"--teacher {Path('runs/teachers') / teacher.name}/checkpoint_best.pt"
            in (student / "command.txt").read_text()
        )
        assert (student / "result.json").stat().st_mtime_ns > (teacher / "result.json").stat().st_mtime_ns

    text = capsys.readouterr().out
    assert text.startswith("1 teacher and 6 runs, ")
    assert text.splitlines()[0].endswith("in runs/teachers and runs/default, 3 at a time")
    assert f"start {teacher.name}" in text
    assert "| none |" not in text
    experiments.main([*grid, "--dry-run"])
    assert capsys.readouterr().out.replace("  (finished)", "") == planned

    # Another group takes the same one.
    assert experiments.main([*bare, *KD, "--group", "other"]) == 0
    assert f"{teacher.name}: accuracy 73, finished before" in capsys.readouterr().out


def test_a_teacher_has_settings_of_its_own(home, bare, capsys):
    students = ["--batch-size", "8", "--lr", "3e-5"]
    for own in ([], ["--teacher-batch-size", "32"], ["--teacher-lr", "4e-5"]):
        experiments.main([*bare, *KD, *students, *own, "--dry-run"])
    made = [line for line in commands(capsys.readouterr().out) if "--save-dir runs/teachers" in line]
    parsed = [shlex.split(line) for line in made]
    assert [(line[line.index("--batch-size") + 1], line[line.index("--lr") + 1]) for line in parsed] == [
        ("16", "1e-05"), ("32", "1e-05"), ("16", "4e-05")
    ]  # fmt: skip


@pytest.mark.parametrize("more", ["", "--teacher teachers/{task}", "-e pred --models a=teachers/MRPC"])
def test_an_unfinished_model_is_neither_used_nor_made_again(home, bare, teacher, more, refused):
    (teacher / "spec.json").write_text('{"task": "MRPC"}')
    error = refused(*bare, *([] if "-e" in more else KD), *more.split(), "--dry-run")
    assert "teachers/MRPC is still being trained, or was interrupted" in error
    assert "give a model" not in error


def test_a_missing_model_starts_no_training(home, bare, refused, capsys):
    error = refused(*bare, *KD, "--teacher", "typo")
    assert "--teacher typo does not exist: give a checkpoint" in error
    command = "python scripts/finetune_teacher.py --data data/MRPC-bin --model MODEL --out typo"
    assert command in error
    assert command in refused(*bare, *KD, "--teacher", "typo", "--data", "data/MRPC-bin")
    assert "--pretrained typo does not exist" in refused(*bare, *KD, "--pretrained", "typo")
    shutil.copytree("models/minilm", "models/roberta")
    assert "--pretrained (models contains models/minilm and models/roberta)" in refused(*bare, *KD)
    assert experiments.main([*bare, *KD, "--pretrained", "models/roberta", "--dry-run"]) == 0


@pytest.fixture
def raw(home) -> Path:
    """Write MRPC's raw files, without sentences, and remove its data."""
    shutil.rmtree(home / "data")
    (home / "glue" / "MRPC").mkdir(parents=True)
    for split in ("train", "dev"):
        (home / "glue" / "MRPC" / f"{split}.tsv").write_text("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n")
    return home


def test_a_plan_without_data_is_the_command_that_makes_it(raw, bare, capsys, trainer):
    assert experiments.main([*bare, *KD, "--dry-run"]) == 0
    python = trainer.with_name("python")
    assert capsys.readouterr().out.splitlines() == [
        f"{python} -m preprocess.glue --glue-dir glue --tasks MRPC --encoder-dir models/minilm --out data",
        "# the runs can be planned when the data of MRPC exists",
    ]
    assert not (raw / "data").exists()


@pytest.mark.parametrize(
    ("more", "positions"),
    [
        ("--method kd", "130"),
        ("--method kd --max-positions 128", "128"),
        ("-e pred --models a=short.pt", "64"),
    ],
)
def test_data_is_no_longer_than_asked_or_than_the_models_take(raw, bare, trainer, capsys, more, positions):
    Path("short.pt").write_text("short")
    python = trainer.with_name("python")
    shapes = '"positions": 64 if path.endswith("short.pt") else 130'
    python.write_text(python.read_text().replace('"positions": 512', shapes))
    assert experiments.main([*bare, *more.split(), "--dry-run"]) == 0
    assert f"--out data --max-positions {positions}\n" in capsys.readouterr().out


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_layers_are_checked_before_data_is_made(raw, bare, refused, more):
    Path("models/minilm/model.pt").write_text("6")
    error = refused(*bare, *KD, "--init", "0,6", *more)
    assert "--init 0,6 contains layer 6, and models/minilm/model.pt has 6 layers" in error
    assert not (raw / "data").exists()


def test_data_that_is_longer_than_asked_is_refused(home, bare, refused):
    path = Path("data/MRPC-bin/meta.json")
    call = [*bare, *KD, "--max-positions", "128", "--dry-run"]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_positions": 128}))
    assert experiments.main(call) == 0
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_positions": 512}))
    assert "--max-positions is 128, and data/MRPC-bin is truncated to 512 tokens" in refused(*call)


@pytest.mark.slow
def test_data_is_made_first_or_nothing_starts(raw, bare, refused, trainer, capsys):
    assert "the data of MRPC could not be made" in refused(*bare, *KD)
    calls = trainer.with_name("calls").read_text()
    assert calls.startswith("-m preprocess.glue --glue-dir glue --tasks MRPC")

    # With the real program.
    lines = "".join(f"{number % 2}\t1\t2\tA word.\tWord {number}!\n" for number in range(20))
    for split in ("train", "dev"):
        with open(raw / "glue" / "MRPC" / f"{split}.tsv", "a") as file:
            file.write(lines)
    (raw / "models" / "minilm" / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nword\na\n")
    python = trainer.with_name("python")
    real = f"os.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])"
    python.write_text(python.read_text().replace('sys.exit("it fails on purpose.")', real))
    assert experiments.main([*bare, *KD]) == 0
    assert "| MRPC | kd | 0,1,2 | - | one | accuracy | 72.00 | 1 |" in capsys.readouterr().out
    assert json.loads(Path("data/MRPC-bin/meta.json").read_text())["splits"]["train"]["sentences"] == 20


def test_missing_data_that_cannot_be_made_is_refused(raw, bare, refused):
    error = refused(*bare, *KD, "--glue-dir", "x")
    assert "--data data has no data of MRPC (data/MRPC-bin/meta.json is missing): give" in error
    assert "or the folder of its raw files with --glue-dir (x has none)." in error
    (raw / "models" / "minilm" / "vocab.txt").unlink()
    assert "or have it made from glue: --pretrained models/minilm contains no vocabulary" in refused(
        *bare, *KD
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_while_data_is_made_stops_everything_and_leaves_nothing(raw, bare, number):
    launcher = subprocess.Popen(
        [sys.executable, str(ROOT / "experiments.py"), *bare, *KD],
        env=os.environ | {"FAKE_HANG": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(raw / "data" / "half")
    launcher.send_signal(number)

    errors = launcher.communicate(timeout=60)[
        1
    ]  # ends when no process has the pipe: the child has ended, too
    assert launcher.returncode == 130
    assert errors.splitlines()[-1].startswith("Interrupted: ")
    assert list((raw / "data").iterdir()) == []


def test_a_method_that_needs_classes_is_refused_for_a_regression(home, bare, data, refused):
    meta = json.loads((data / "MRPC-bin" / "meta.json").read_text()) | {"task": "STS-B", "regression": True}
    shutil.copytree(data / "MRPC-bin", data / "STS-B-bin")
    (data / "STS-B-bin" / "meta.json").write_text(json.dumps(meta))
    scores = [*bare, "--task", "mrpc,sts-b", "--dry-run"]
    assert "--method crd contrasts sentences of different labels, " in refused(*scores, "--method", "kd,crd")
    assert experiments.main([*scores, "--method", "crd", "--", "--inter-weight", "0"]) == 0
    assert experiments.main([*scores, "--method", "kd"]) == 0
