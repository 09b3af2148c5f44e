"""`scripts/evaluate.py`: every metric of every checkpoint on every labelled split."""

import csv

import pytest

from fairseq_kd.errors import CannotStart
from scripts.evaluate import find_checkpoints, main
from tests.tiny import train_command, train_here


def evaluate(*arguments) -> int:
    return main([*map(str, arguments), "--cpu"])


def rows(path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["three_classes", "regression"])
def test_metrics_are_those_the_training_logged(name, request, tmp_path, capsys):
    run = request.getfixturevalue(name)
    assert evaluate("--checkpoint", run.folder, "--data", run.data.parent, "--csv", tmp_path / "a.csv") == 0

    # All checkpoints of a run are its last one, for it had one epoch.
    found = rows(tmp_path / "a.csv")
    assert {row["checkpoint"] for row in found} == {str(path) for path in run.folder.glob("*.pt")}
    splits = {(row["split"], row["sentences"]) for row in found}
    assert splits - {("valid1", "30")} == {("train", "64"), ("valid", "40")}
    assert (("valid1", "30") in splits) == (name == "three_classes")
    for row in found:
        metrics = {metric: row[metric] for metric in run.logged["valid"] if metric in row}
        assert metrics
        if row["split"] != "train":
            assert metrics == {metric: str(run.logged[row["split"]][metric]) for metric in metrics}

    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2 + len(found)
    metric = "accuracy" if name == "three_classes" else "pearson"
    score = run.logged["valid"][metric]
    expected = f"| {run.data.name.removesuffix('-bin')} | valid | 40 | {score:.2f} |"
    assert any(expected in row for row in printed)


@pytest.mark.slow
def test_runs_of_several_tasks_make_one_table(three_classes, regression, tmp_path, capsys):
    (tmp_path / "data").mkdir()
    for run in (three_classes, regression):
        (tmp_path / "data" / run.data.name).symlink_to(run.data)
    given = ["--checkpoint", three_classes.folder, regression.folder / "checkpoint_best.pt"]
    evaluate(*given, "--data", tmp_path / "data", "--split", "valid,valid1", "--csv", tmp_path / "a.csv")

    header, _, *table = capsys.readouterr().out.splitlines()
    metrics = "accuracy | macro_f1 | mcc | pearson | spearman"
    assert header == f"| checkpoint | task | split | sentences | {metrics} |"
    best = regression.folder / "checkpoint_best.pt"
    assert table[-1].startswith(f"| {best} | STS-B | valid | 40 | - | - | ")
    assert rows(tmp_path / "a.csv")[-1]["accuracy"] == ""


@pytest.mark.slow
def test_first_stages_are_skipped_in_folders(three_classes, tmp_path, capsys):
    flags = ["--criterion", "hidden_mse_learn", "--hard-weight", "0", "--soft-weight", "0"]
    teacher = three_classes.folder.parent / "teacher"
    command = train_command(three_classes.data, tmp_path / "runs" / "first", "--teacher", str(teacher))
    train_here([*command, "--init-layers", "0,3", *flags, "--no-epoch-checkpoints"])

    assert evaluate("--checkpoint", tmp_path / "runs" / "first", three_classes.folder / "checkpoint_best.pt",
                    "--data", three_classes.data, "--split", "valid") == 0  # fmt: skip
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 3
    assert "first/checkpoint_best.pt is a first stage, without a trained classifier: skipped" in captured.err

    with pytest.raises(CannotStart, match="has only first stages"):
        evaluate("--checkpoint", tmp_path / "runs" / "first", "--data", three_classes.data)
    with pytest.raises(CannotStart, match="is a first stage"):
        evaluate("--checkpoint", tmp_path / "runs/first/checkpoint_best.pt", "--data", three_classes.data)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("valid,dev", "--split dev is not in the data, which has train, valid, valid1, test, test1"),
        ("test", r"--split test has no labels in .*: scripts/predict.py writes"),
    ],
)
def test_splits_that_cannot_be_scored_are_refused(three_classes, split, message, capsys):
    with pytest.raises(CannotStart, match=message):
        evaluate("--checkpoint", three_classes.folder, "--data", three_classes.data, "--split", split)
    assert capsys.readouterr().out == ""


@pytest.fixture
def runs(tmp_path):
    for name in ("a/checkpoint_best.pt", "a/checkpoint_last.pt", "b/checkpoint_best.pt", "deep/c/model.pt"):
        path = tmp_path / "runs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    return tmp_path / "runs"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("a/checkpoint_last.pt", ["a/checkpoint_last.pt"]),
        ("a", ["a/checkpoint_best.pt", "a/checkpoint_last.pt"]),
        ("", ["a/checkpoint_best.pt", "b/checkpoint_best.pt", "deep/c/model.pt"]),
    ],
)
def test_a_file_a_run_a_folder_of_runs(runs, given, found):
    assert find_checkpoints(str(runs / given)) == [runs / name for name in found]


def test_nothing_there(runs):
    with pytest.raises(CannotStart, match="empty has no checkpoint: give"):
        find_checkpoints(str(runs.parent / "empty"))
    with pytest.raises(CannotStart, match="elsewhere does not exist: give"):
        find_checkpoints(str(runs.parent / "elsewhere"))
