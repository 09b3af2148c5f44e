"""`-e pred` and `-e finetune`: grids of models that a file lists."""

import json
from pathlib import Path

import pytest

import experiments
from launcher.listed import read_list


@pytest.fixture
def models(tmp_path) -> Path:
    """Two runs' folders, of MRPC and of MNLI, and a checkpoint of nobody's."""
    for task in ("MRPC", "MNLI"):
        folder = tmp_path / f"{task}-first"
        folder.mkdir()
        (folder / "checkpoint_best.pt").write_text(task)
        (folder / "spec.json").write_text(json.dumps({"task": task}))
    (tmp_path / "other.pt").write_text("weights")
    return tmp_path


def listing(models: Path, content) -> list[str]:
    (models / "models.json").write_text(json.dumps(content))
    return ["--pass_dic", str(models / "models.json"), "--seeds", "1,2"]


def specs(folder: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*/spec.json"))]


def test_second_stages_start_from_the_models_listed(call, models, tmp_path, capsys):
    content = {"mine": f"{models}/MRPC-first", "theirs": f"{models}/other.pt", "mnli": f"{models}/MNLI-first"}
    assert experiments.main([*call, "-e", "pred", *listing(models, content)]) == 0

    found = specs(tmp_path / "runs" / "g")
    assert [(spec["init"], spec["stage"], spec["method"], spec["seed"]) for spec in found] == [
        ("mine", "second", "kd", 1), ("mine", "second", "kd", 2),
        ("theirs", "second", "kd", 1), ("theirs", "second", "kd", 2),
    ]  # fmt: skip
    [run] = (tmp_path / "runs" / "g").glob("MRPC-kd-mine-second-seed1-*")
    assert (
        f"--init-from {models}/MRPC-first/checkpoint_best.pt --init-layers all"
        in (run / "command.txt").read_text()
    )
    assert "| MRPC | kd | mine | - | two | accuracy | 73.50 ± 0.71 | 2 |" in capsys.readouterr().out


def without_teacher(call: list[str]) -> list[str]:
    at = call.index("--teacher")
    return call[:at] + call[at + 2 :]


def test_models_are_fine_tuned_without_a_teacher(call, models, tmp_path, capsys):
    given = listing(models, [f"{models}/MNLI-first", f"{models}/other.pt"])
    assert experiments.main([*without_teacher(call), "-e", "finetune", *given]) == 0

    found = specs(tmp_path / "runs" / "g")
    assert {(spec["init"], spec["method"], spec["teacher"]) for spec in found} == {
        ("MNLI-first", "none", ""),
        ("other", "none", ""),
    }
    assert "| MRPC | none | other | - | one | accuracy | 73.50 ± 0.71 | 2 |" in capsys.readouterr().out


def test_another_model_of_that_name_makes_other_runs(call, models, tmp_path):
    given = [*without_teacher(call), "-e", "finetune", *listing(models, {"mine": f"{models}/other.pt"})]
    experiments.main(given)
    (models / "other.pt").write_text("trained again")
    experiments.main(given)
    assert len(specs(tmp_path / "runs" / "g")) == 4


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("a: x\nb: y", (("a", "x"), ("b", "y"))),
        ('{"a": "x"}', (("a", "x"),)),
        ("- runs/r/checkpoint_best.pt\n- runs/s\n- m.pt", (("r", "runs/r/checkpoint_best.pt"), ("s", "runs/s"),
                                                            ("m", "m.pt"))),
    ],
)  # fmt: skip
def test_a_list_or_a_mapping_is_read(tmp_path, text, entries):
    (tmp_path / "file").write_text(text)
    assert read_list(tmp_path / "file", "--pass_dic") == entries


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("3", "file holds something else: give a list of checkpoints and run folders, or a mapping"),
        ("a: [x]", "holds something else"),
        ("[]", "lists nothing"),
        ("a/b: x", "has the name 'a/b': use letters"),
        ("- x/r\n- y/r", "has two models named r: give a mapping"),
        ("a: [x", "file, line 1 is not YAML"),
    ],
)
def test_what_is_neither_is_said(tmp_path, text, sentence):
    (tmp_path / "file").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_list(tmp_path / "file", "--pass_dic")


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["-e", "pred"], "-e pred needs --pass_dic FILE"),
        (["--method", "kd", "--pass_dic", "FILE"], "is for -e pred and -e finetune: leave one out"),
        (
            ["-e", "pred", "--pass_dic", "FILE", "-m", "crd"],
            "--method does not go with -e pred, whose models",
        ),
        (["-e", "finetune", "--pass_dic", "FILE", "--init", "0,1"], "--init does not go with -e finetune"),
        (["-e", "pred", "--pass_dic", "FILE", "-s", "one_stage"], "--stage does not go with -e pred"),
        (
            ["-e", "pred", "--pass_dic", "FILE"],
            "--pass_dic lists no model of MRPC: add one, or leave out --task MRPC",
        ),
        (["-e", "pred", "--pass_dic", "nowhere"], "--pass_dic nowhere cannot be read"),
        (["-e", "finetune", "--pass_dic", "FILE"], "--teacher does not go with -e finetune"),
        (["-e", "pred", "--pass_dic", "FILE", "--stage1-epochs", "2"], "--stage1-epochs does not go with -e"),
    ],
)
def test_what_does_not_go_together_is_said(call, models, more, sentence, capsys):
    file = listing(models, [f"{models}/MNLI-first"])[1]
    with pytest.raises(SystemExit) as stopped:
        experiments.main([*call, *(file if word == "FILE" else word for word in more)])
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_model_that_is_not_there_is_named(call, models, capsys):
    with pytest.raises(SystemExit):
        experiments.main([*without_teacher(call), "-e", "finetune", *listing(models, {"mine": "nowhere"})])
    assert "--pass_dic: mine = nowhere does not exist" in capsys.readouterr().err


def test_the_original_words_for_stages_are_understood(call, models, capsys):
    given = listing(models, [f"{models}/MRPC-first"])
    assert experiments.main(["--dry-run", *call, "-e", "pred", "-s", "two_stage", *given]) == 0
