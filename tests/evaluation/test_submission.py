"""GLUE's files: names, words, counts, and the archive."""

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from fairseq_kd.data.metadata import Metadata
from fairseq_kd.errors import CannotStart
from fairseq_kd.evaluation.predictions import Predictions
from fairseq_kd.evaluation.submission import GLUE_FILES, glue_predictions, write_archive, write_predictions
from preprocess.tasks import TASKS
from scripts.predict import main
from tests.evaluation.conftest import rename
from tests.tiny import SHAPE, weights, write_data

# What the server takes, from GLUE's own test files.
OFFICIAL = {"CoLA.tsv": 1063, "SST-2.tsv": 1821, "MRPC.tsv": 1725, "STS-B.tsv": 1379, "QQP.tsv": 390965,
            "MNLI-m.tsv": 9796, "MNLI-mm.tsv": 9847, "QNLI.tsv": 5463, "RTE.tsv": 3000, "WNLI.tsv": 146,
            "AX.tsv": 1104}  # fmt: skip
NLI = ["entailment", "neutral", "contradiction"]


def metadata(task: str, scale: float = 1.0) -> Metadata:
    known = TASKS[task]
    return Metadata(
        task, known.num_classes, known.regression, known.pairs, "bert", "", known.labels, score_scale=scale
    )


def write_model(folder: Path, task: str, classes: int) -> Path:
    """Write a random model that names the task it was fine-tuned on, as a run saves it; return its folder."""
    folder.mkdir(parents=True)
    config = {"_name": "roberta_student", **SHAPE.config(), "fine_tuned_on": task}
    state = {"args": None, "cfg": {"model": config}, "model": weights(SHAPE, classes)}
    torch.save(state, folder / "checkpoint_best.pt")
    return folder


def tiny(folder: Path, task: str, sentences, **described) -> Path:
    data = write_data(folder / f"{task}-bin", sentences, classes=TASKS[task].num_classes, **described)
    rename(data, task, labels=TASKS[task].labels, score_scale=5.0 if described.get("regression") else None)
    for path in (data / "label").glob("test*.*"):
        path.unlink()
    return data


def submit(*arguments) -> int:
    return main([*map(str, arguments), "--cpu"])


def test_files_and_rows_are_the_official_ones():
    assert {glue_file.name: glue_file.rows for glue_file in GLUE_FILES.values()} == OFFICIAL
    assert {task for task, _ in GLUE_FILES} == set(TASKS) - {"SNLI"}


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("CoLA", ["0", "1"]),
        ("QQP", ["0", "1"]),
        ("RTE", ["entailment", "not_entailment"]),
        ("QNLI", ["entailment", "not_entailment"]),
        ("MNLI", NLI),
        ("AX", NLI),
    ],
)
def test_glue_predictions_are_label_names(task, words):
    logits = np.eye(len(words), dtype=np.float32)[::-1]
    assert glue_predictions(logits, metadata(task)) == words[::-1]


def test_scores_are_between_0_and_5():
    logits = np.array([[-0.2], [0.0], [0.5], [0.77777], [1.3]], np.float32)
    assert glue_predictions(logits, metadata("STS-B", 5.0)) == ["0.000", "0.000", "2.500", "3.889", "5.000"]


def test_a_file_is_a_header_and_numbered_rows(tmp_path):
    logits = np.array([[1, 0], [0, 1]], np.float32)
    path = write_predictions(tmp_path, "test", Predictions(logits), metadata("RTE"))
    assert path == tmp_path / "RTE.tsv"
    assert path.read_bytes() == b"index\tprediction\n0\tentailment\n1\tnot_entailment\n"


def test_the_archive_reports_missing_files_and_is_reproducible(tmp_path):
    for name in ("RTE.tsv", "AX.tsv"):
        (tmp_path / name).write_text("index\tprediction\n")
    (tmp_path / "notes.txt").write_text("not GLUE's")
    archive, present, missing = write_archive(tmp_path)
    first = hashlib.sha256(archive.read_bytes()).digest()

    assert zipfile.ZipFile(archive).namelist() == present == ["RTE.tsv", "AX.tsv"]
    assert missing == [name for name in OFFICIAL if name not in ("RTE.tsv", "AX.tsv")]
    (tmp_path / "AX.tsv").touch()
    write_archive(tmp_path)
    assert hashlib.sha256(archive.read_bytes()).digest() == first


def test_one_command_submits_several_tasks(tmp_path, capsys):
    sentences = [("train", 8), ("valid", 8), ("test", 11), ("test1", 7)]
    tiny(tmp_path / "data", "MNLI", sentences)
    tiny(tmp_path / "data", "AX", [("test", 5)])
    tiny(tmp_path / "data", "STS-B", [("test", 9)], regression=True)
    runs = [
        write_model(tmp_path / "mnli", "MNLI", classes=3),
        write_model(tmp_path / "stsb", "STS-B", classes=1),
    ]
    given = ["--checkpoint", *runs, "--data", tmp_path / "data", "--submission", tmp_path / "out", "--cut"]
    assert submit(*given) == 0

    written = {path.name: path.read_text().splitlines() for path in (tmp_path / "out").glob("*.tsv")}
    assert {name: len(lines) - 1 for name, lines in written.items()} == {
        "MNLI-m.tsv": 11,
        "MNLI-mm.tsv": 7,
        "AX.tsv": 5,
        "STS-B.tsv": 9,
    }
    for name, split in (("MNLI-m.tsv", "test"), ("MNLI-mm.tsv", "test1"), ("AX.tsv", "AX")):
        saved = Predictions.read(runs[0] / "predictions" / f"{split}.npz")
        assert [line.split("\t")[1] for line in written[name][1:]] == [
            NLI[number] for number in saved.logits.argmax(1)
        ]
    missing = "without CoLA.tsv, SST-2.tsv, MRPC.tsv, QQP.tsv, QNLI.tsv, RTE.tsv, WNLI.tsv"
    printed = capsys.readouterr().out
    assert f"submission.zip: {missing}\n" in printed
    assert "earlier calls" not in printed

    given = ["--checkpoint", runs[1], "--data", tmp_path / "data", "--submission", tmp_path / "out", "--cut"]
    assert submit(*given) == 0
    older = f"  MNLI-m.tsv, MNLI-mm.tsv, AX.tsv from earlier calls with --submission {tmp_path / 'out'}\n"
    assert capsys.readouterr().out.endswith(older)


@pytest.mark.parametrize(
    ("task", "split", "models", "flags", "found"),
    [
        ("RTE", "test", ["RTE"], "", "has 11 rows in test, but GLUE's file has 3,000: make .* add --cut"),
        ("RTE", "test", ["RTE", "RTE"], "--cut", "two --checkpoint are given for RTE: leave one out"),
        ("SNLI", "test", ["SNLI"], "", "requires a GLUE task, but .* is SNLI: give"),
        ("RTE", "valid", ["RTE"], "", "has no test split: make it with GLUE's test.tsv"),
    ],
)
def test_what_glue_does_not_take_is_refused(tmp_path, task, split, models, flags, found):
    tiny(tmp_path, task, [(split, 11)])
    classes = TASKS[task].num_classes
    runs = [write_model(tmp_path / str(number), model, classes) for number, model in enumerate(models)]
    with pytest.raises(CannotStart, match=found):
        submit("--checkpoint", *runs, "--data", tmp_path, "--submission", tmp_path / "out", *flags.split())
    assert not (tmp_path / "out").exists()


def test_a_model_of_another_task_is_refused(tmp_path):
    data = tiny(tmp_path, "RTE", [("test", 11)])
    run = write_model(tmp_path / "qnli", "QNLI", classes=2)
    with pytest.raises(CannotStart, match=r"was fine-tuned on QNLI, but .*RTE-bin is RTE: give the parent"):
        submit("--checkpoint", run, "--data", data, "--submission", tmp_path / "out", "--cut")
