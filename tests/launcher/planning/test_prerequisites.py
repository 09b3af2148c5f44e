"""What is missing and can be made is made: teachers once a task, data before anything is planned."""

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
from tests.launcher.waiting import wait_for

ROOT = Path(__file__).parents[3]
KD = ["--method", "kd", "--seeds", "1"]


@pytest.fixture
def home(tmp_path, monkeypatch, trainer, data) -> Path:
    """A folder with data, a pre-trained model in models/ and no teacher, where the launcher is called."""
    (data / "MRPC-bin" / "input0").mkdir()
    (data / "MRPC-bin" / "input0" / "dict.txt").write_text("word 1\n")
    (data / "MNLI-bin" / "input0").mkdir()
    (data / "MNLI-bin" / "input0" / "dict.txt").write_text("word 1\n")
    (tmp_path / "models" / "minilm").mkdir(parents=True)
    (tmp_path / "models" / "minilm" / "model.pt").write_bytes(b"pre-trained")
    (tmp_path / "models" / "minilm" / "vocab.txt").write_text("word\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def bare(trainer) -> list[str]:
    """A call that names neither data nor teacher."""
    return ["--task", "mrpc", "--cpu", "--epochs", "1", "--teacher-epochs", "2", "--trainer", str(trainer)]


def commands(output: str) -> list[str]:
    return [line for line in output.splitlines() if not line.startswith("#")]


def test_a_teacher_is_made_once_and_its_students_come_after_it(home, bare, capsys):
    assert experiments.main([*bare, "--method", "kd,hidden_mse_learn", "--seeds", "1,2", "--jobs", "3"]) == 0

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

    # Another group takes the same one.
    assert experiments.main([*bare, *KD, "--group", "other"]) == 0
    assert f"{teacher.name}: accuracy 73, finished before" in capsys.readouterr().out


def test_a_plan_names_students_of_a_teacher_that_is_not_trained_yet(home, bare, capsys):
    assert experiments.main([*bare, *KD, "--dry-run"]) == 0
    planned = capsys.readouterr().out
    assert not (home / "runs").exists()
    assert len(commands(planned)) == 4
    assert "# 1 teacher and 1 run in runs/teachers and runs/default, 1 at a time" in planned

    experiments.main([*bare, *KD])
    capsys.readouterr()
    experiments.main([*bare, *KD, "--dry-run"])
    assert capsys.readouterr().out.replace("  (finished)", "") == planned


def test_a_teacher_has_settings_of_its_own(home, bare, capsys):
    students = ["--batch-size", "8", "--lr", "3e-5"]
    for own in ([], ["--teacher-batch-size", "32"], ["--teacher-lr", "4e-5"]):
        experiments.main([*bare, *KD, *students, *own, "--dry-run"])
    made = [line for line in commands(capsys.readouterr().out) if "--save-dir runs/teachers" in line]
    told = [shlex.split(line) for line in made]
    assert [(line[line.index("--batch-size") + 1], line[line.index("--lr") + 1]) for line in told] == [
        ("16", "1e-05"), ("32", "1e-05"), ("16", "4e-05")
    ]  # fmt: skip


def test_students_of_a_teacher_that_failed_are_not_started(home, bare, monkeypatch, capsys):
    monkeypatch.setenv("FAKE_FAIL", "MRPC-none-all")
    assert experiments.main([*bare, "--method", "att_kl_learn", "--seeds", "1"]) == 1
    assert capsys.readouterr().out.count("not started because its teacher failed: MRPC-none-all") == 2


def test_other_settings_make_another_teacher(home, bare, capsys):
    for more in ([], ["--teacher-epochs", "3"], ["--teacher-lr", "1e-4"]):
        experiments.main([*bare, *KD, *more])
    assert len(list((home / "runs" / "teachers").iterdir())) == 3


def test_a_teacher_that_is_there_is_taken(home, bare, teacher, capsys):
    experiments.main([*without_epochs(bare), *KD, "--dry-run"])
    assert "--teacher teachers/MRPC/checkpoint_best.pt" in capsys.readouterr().out


def without_epochs(call: list[str]) -> list[str]:
    at = call.index("--teacher-epochs")
    return [*call[:at], *call[at + 2 :]]


def test_a_path_that_is_typed_leads_somewhere_even_where_it_is_not_needed(home, bare, teacher, capsys):
    for flag, told in (
        ("--pretrained", "does not exist: give a checkpoint"),
        ("--glue-dir", "is no folder: give"),
    ):
        with pytest.raises(SystemExit):
            experiments.main([*without_epochs(bare), *KD, flag, "typo"])
        assert f"Cannot start: {flag} typo {told}" in capsys.readouterr().err

    Path("grid.yaml").write_text("pretrained: typo\nglue-dir: typo\n")
    assert experiments.main([*without_epochs(bare), *KD, "--grid", "grid.yaml", "--dry-run"]) == 0


@pytest.mark.parametrize(
    "more", [[], ["--teacher", "teachers/{task}"], ["-e", "pred", "--models", "a=teachers/MRPC"]]
)
def test_a_model_that_is_not_finished_is_neither_taken_nor_made_again(home, bare, teacher, more, capsys):
    (teacher / "spec.json").write_text('{"task": "MRPC"}')
    with pytest.raises(SystemExit):
        experiments.main([*bare, *([] if "-e" in more else KD), *more, "--dry-run"])
    error = capsys.readouterr().err
    assert (
        "teachers/MRPC is still being trained, or was interrupted: let its training end, or name a copy"
        in error
    )
    assert "give a model" not in error


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (
            ["--teacher", "typo"],
            "Cannot start: --teacher typo does not exist: give a model fine-tuned on MRPC",
        ),
        (
            ["--pretrained", "typo"],
            "Cannot start: --pretrained typo does not exist: give a checkpoint, or a folder",
        ),
    ],
)
def test_a_path_that_leads_nowhere_starts_no_training(home, bare, more, sentence, capsys):
    with pytest.raises(SystemExit):
        experiments.main([*bare, *KD, *more])
    assert sentence in capsys.readouterr().err


def test_which_pretrained_model_is_meant_must_be_clear(home, bare, capsys):
    shutil.copytree("models/minilm", "models/roberta")
    with pytest.raises(SystemExit):
        experiments.main([*bare, *KD])
    assert (
        "to have one made, name a pre-trained model with --pretrained (models holds models/minilm and models/roberta)."
    ) in capsys.readouterr().err
    assert experiments.main([*bare, *KD, "--pretrained", "models/roberta", "--dry-run"]) == 0


@pytest.fixture
def raw(home) -> Path:
    """MRPC's raw files, and none of its data."""
    shutil.rmtree(home / "data")
    (home / "glue" / "MRPC").mkdir(parents=True)
    for split in ("train", "dev"):
        (home / "glue" / "MRPC" / f"{split}.tsv").write_text("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n")
    return home


def test_data_that_can_be_made_is_announced(raw, bare, capsys, trainer):
    assert experiments.main([*bare, *KD, "--dry-run"]) == 0
    python = trainer.with_name("python")
    assert capsys.readouterr().out.splitlines() == [
        f"{python} -m preprocess.glue --glue-dir glue --tasks MRPC --encoder-dir models/minilm --out data",
        "# the runs are planned once the data of MRPC is there",
    ]
    assert not (raw / "data").exists()


def test_data_that_is_made_is_cut_where_asked(raw, bare, capsys):
    assert experiments.main([*bare, *KD, "--max-positions", "128", "--dry-run"]) == 0
    assert "--out data --max-positions 128\n" in capsys.readouterr().out


def test_data_that_is_longer_than_asked_is_refused(home, bare, teacher, capsys):
    path = Path("data/MRPC-bin/meta.json")
    call = [*without_epochs(bare), *KD, "--max-positions", "128", "--dry-run"]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_positions": 128}))
    assert experiments.main(call) == 0
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_positions": 512}))
    with pytest.raises(SystemExit):
        experiments.main(call)
    assert capsys.readouterr().err == (
        "Cannot start: --max-positions is 128, and data/MRPC-bin is cut at 512 tokens: make it again with "
        "`python -m preprocess.glue --tasks MRPC --max-positions 128`, or name other data with --data.\n"
    )


def test_data_is_made_first_or_nothing_starts(raw, bare, capsys, trainer):
    with pytest.raises(SystemExit) as stopped:
        experiments.main([*bare, *KD])
    assert stopped.value.code == 2
    assert (
        trainer.with_name("calls").read_text().startswith("-m preprocess.glue --glue-dir glue --tasks MRPC")
    )
    assert capsys.readouterr().err == "Cannot start: the data of MRPC could not be made, as said above.\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_data_is_made_nothing_goes_on_or_stays(raw, bare, number):
    launcher = subprocess.Popen(
        [sys.executable, str(ROOT / "experiments.py"), *bare, *KD],
        env=os.environ | {"FAKE_HANG": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(raw / "data" / "half")
    launcher.send_signal(number)

    errors = launcher.communicate(timeout=20)[1]  # ends once nobody holds the pipe: the child has ended, too
    assert launcher.returncode == 130
    assert errors.splitlines()[-1] == "Interrupted: the same command goes on from here."
    assert list((raw / "data").iterdir()) == []


def test_a_method_that_needs_classes_is_refused_for_numbers(home, bare, data, capsys):
    meta = json.loads((data / "MRPC-bin" / "meta.json").read_text()) | {"task": "STS-B", "regression": True}
    shutil.copytree(data / "MRPC-bin", data / "STS-B-bin")
    (data / "STS-B-bin" / "meta.json").write_text(json.dumps(meta))
    scores = ["--task", "mrpc,sts-b", "--dry-run"]
    with pytest.raises(SystemExit) as stopped:
        experiments.main([*bare, *scores, "--method", "kd,crd"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == (
        "Cannot start: --method crd contrasts sentences of different labels, but those of --task STS-B are numbers "
        "(regression): leave one of the two out.\n"
    )
    assert experiments.main([*bare, *scores, "--method", "crd", "--", "--inter-weight", "0"]) == 0
    assert experiments.main([*bare, *scores, "--method", "kd"]) == 0


def test_where_data_cannot_be_made_it_is_said_how(raw, bare, capsys):
    def told(*more: str) -> str:
        with pytest.raises(SystemExit):
            experiments.main([*bare, *KD, *more])
        return capsys.readouterr().err

    Path("x").mkdir()
    assert "--data data has no data of MRPC (data/MRPC-bin/meta.json is missing): give" in told(
        "--glue-dir", "x"
    )
    assert "or the folder of its raw files with --glue-dir (x has none)." in told("--glue-dir", "x")
    (raw / "models" / "minilm" / "vocab.txt").unlink()
    assert "or have it made from glue: --pretrained models/minilm holds no vocabulary" in told()
