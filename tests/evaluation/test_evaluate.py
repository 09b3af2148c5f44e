"""`scripts/evaluate.py`: every metric of every checkpoint on every labelled split."""

import csv

import pytest
import torch

from fairseq_kd.errors import CannotStart
from fairseq_kd.evaluation.loaded_model import LoadedModel
from scripts.evaluate import main
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
    for row in found:
        metrics = {metric: row[metric] for metric in run.logged["valid"] if metric in row}
        assert metrics
        if row["split"] != "train":
            assert metrics == {metric: str(run.logged[row["split"]][metric]) for metric in metrics}

    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2 + len(found)
    metric = "accuracy" if name == "three_classes" else "pearson"
    score = run.logged["valid"][metric]
    assert any(
        f"| {run.data.name.removesuffix('-bin')} | valid | 40 | {score:.2f} |" in row for row in printed
    )


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """Return a list that collects the names of the checkpoints whose predictions are computed."""
    names, predict = [], LoadedModel.predict

    def counted(model, *arguments):
        names.append(model.checkpoint.path.name)
        return predict(model, *arguments)

    monkeypatch.setattr(LoadedModel, "predict", counted)
    return names


@pytest.mark.slow
def test_equal_checkpoints_are_evaluated_once(three_classes, tmp_path, capsys, asked):
    given = ["--data", three_classes.data, "--split", "valid,valid1", "--csv", tmp_path / "a.csv"]
    evaluate("--checkpoint", three_classes.folder, *given)
    assert asked == ["checkpoint1.pt"]

    first, best, last = (three_classes.folder / f"checkpoint{name}.pt" for name in ("1", "_best", "_last"))
    assert capsys.readouterr().err.splitlines() == [
        f"{copy} has the weights of {first}: reusing its scores." for copy in (best, last)
    ]
    found = rows(tmp_path / "a.csv")
    each = [{**row, "checkpoint": ""} for row in found]
    assert each[:2] == each[2:4] == each[4:]
    assert [row["checkpoint"] for row in found[::2]] == [str(first), str(best), str(last)]


def head_moved(state):
    state["model"]["classification_heads.sentence_classification_head.out_proj.bias"][0] += 1


def in_other_batches(state):
    state["cfg"]["dataset"]["batch_size_valid"] = 3


def in_another_precision(state):
    state["cfg"]["task"]["autocast"] = "bf16"


@pytest.mark.parametrize("change", [head_moved, in_other_batches, in_another_precision])
def test_models_with_other_settings_are_evaluated(three_classes, tmp_path, asked, change):
    best = three_classes.folder / "checkpoint_best.pt"
    state = torch.load(best, weights_only=True)
    change(state)
    torch.save(state, tmp_path / "other.pt")
    evaluate("--checkpoint", best, tmp_path / "other.pt", "--data", three_classes.data, "--split", "valid")
    assert asked == ["checkpoint_best.pt", "other.pt"]


def test_every_labelled_split_by_default(three_classes, tmp_path):
    model = three_classes.folder / "checkpoint_best.pt"
    evaluate("--checkpoint", model, "--data", three_classes.data, "--csv", tmp_path / "a.csv")
    splits = [(row["split"], row["sentences"]) for row in rows(tmp_path / "a.csv")]
    assert splits == [("train", "64"), ("valid", "40"), ("valid1", "30")]


@pytest.mark.slow
def test_runs_of_several_tasks_make_one_table(three_classes, regression, tmp_path, capsys):
    (tmp_path / "data").mkdir()
    for run in (three_classes, regression):
        (tmp_path / "data" / run.data.name).symlink_to(run.data)
    given = ["--checkpoint", three_classes.folder, regression.folder / "checkpoint_best.pt"]
    evaluate(*given, "--data", tmp_path / "data", "--split", "valid,valid1", "--csv", tmp_path / "a.csv")

    header, _, *table = capsys.readouterr().out.splitlines()
    assert (
        header == "| checkpoint | task | split | sentences | accuracy | macro_f1 | mcc | pearson | spearman |"
    )
    assert table[-1].startswith(
        f"| {regression.folder / 'checkpoint_best.pt'} | STS-B | valid | 40 | - | - | "
    )
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
        ("valid,dev", "--split dev is not in the data of --data"),
        ("test", r"--split test has no labels in .*: scripts/predict.py writes"),
    ],
)
def test_splits_that_cannot_be_scored_are_refused(three_classes, split, message, capsys):
    with pytest.raises(CannotStart, match=message):
        evaluate("--checkpoint", three_classes.folder, "--data", three_classes.data, "--split", split)
    assert capsys.readouterr().out == ""
