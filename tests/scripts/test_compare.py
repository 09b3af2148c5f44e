"""`scripts/compare.py`: what a student costs and scores beside its teacher."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from fairseq_kd.errors import CannotStart
from fairseq_kd.evaluation import cost
from fairseq_kd.evaluation.predictions import Predictions
from fairseq_kd.evaluation.scores import agreement
from scripts.compare import main
from tests.tiny import SHAPE, write_data, write_teacher

pytestmark = pytest.mark.slow

SMALL, BIG = replace(SHAPE, layers=1), replace(SHAPE, layers=12, width=64, ffn=256)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    sizes = {"big": BIG, "small": SMALL}
    return [write_teacher(folder / name / "model.pt", shape) for name, shape in sizes.items()]


def compare(*arguments) -> int:
    return main([*map(str, arguments), "--cpu", "--rounds", "3"])


def test_table_csv_and_plot_have_the_same_numbers(models, tmp_path, capsys):
    data = write_data(tmp_path / "TINY-bin", [("train", 9), ("valid", 60), ("valid1", 12), ("test", 7)])
    assert compare(*models, "--data", data, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    with (tmp_path / "out/comparison.csv").open() as file:
        teacher, student = csv.DictReader(file)
    # Embeddings 65 x 16 words and 42 x 16 positions; a layer of width 16 and ffn 32 has 2,224, the head 306 weights,
    # and the LayerNorm of the embeddings 32.
    assert int(student["embeddings"]) == 16 * (65 + 42)
    assert int(student["parameters"]) == 16 * (65 + 42) + 2224 + 306 + 32
    assert int(student["bytes"]) == 4 * int(student["parameters"])
    assert float(teacher["ms_batch_32"]) > float(student["ms_batch_32"]) > 0
    assert float(teacher["ms_batch_1_quartile_1"]) <= float(teacher["ms_batch_1"])
    assert int(teacher["peak_bytes"]) > int(teacher["bytes"])
    assert float(teacher["valid_agreement"]) == 100
    assert {"valid_accuracy", "valid1_f1", "test_mcc"} <= student.keys()
    assert not any(name.startswith("train") for name in student)
    scores = [f"{float(each['valid_accuracy']):.2f}" for each in (teacher, student)]
    assert f"| accuracy, valid | {scores[0]} | {scores[1]} |" in printed
    assert (tmp_path / "out/comparison.md").read_text() == printed

    times = int(teacher["parameters"]) / int(student["parameters"])
    assert f"small: {times:.1f}x fewer parameters" in printed
    assert (tmp_path / "out/comparison.png").read_bytes().startswith(b"\x89PNG")


def test_models_of_one_name_have_the_folder_above_in_their_names(models, tmp_path, monkeypatch, capsys):
    data = write_data(tmp_path / "TINY-bin", [("train", 9), ("valid", 6)])
    for model, folder in zip(models, ("teachers", "runs"), strict=True):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tiny").symlink_to(model.parent)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost, "peak_memory_of", lambda *_: None)
    assert compare("teachers/tiny", "runs/tiny", "--data", data) == 0
    printed = capsys.readouterr().out
    assert "| model | teachers/tiny | runs/tiny |" in printed
    assert "runs/tiny: " in printed
    assert "teachers/tiny on valid" in printed


def test_agreement_of_classes_and_of_numbers():
    first = Predictions(np.array([[0, 1], [1, 0], [2, 1], [0, 3]], np.float32))
    second = Predictions(np.array([[0, 9], [0, 1], [5, 1], [0, 1]], np.float32))
    assert agreement(first, second) == 75
    line = Predictions(np.array([[1.0], [2.0], [4.0]], np.float32))
    assert agreement(line, Predictions(3 - 2 * line.logits)) == pytest.approx(-100)


def test_an_out_that_cannot_be_made_is_refused_before_the_measurement(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit):
        compare("nowhere", "nowhere", "--data", tmp_path, "--out", tmp_path / "file")
    assert f"--out {tmp_path / 'file'} cannot be made" in capsys.readouterr().err


def test_other_tasks_and_splits_are_refused(models, tmp_path):
    data = write_data(tmp_path / "TINY-bin", [("train", 9), ("valid", 6)])
    with pytest.raises(CannotStart, match="--split nosuch is not in the data, which has train, valid"):
        compare(*models, "--data", data, "--split", "nosuch")
    more = write_data(tmp_path / "more" / "TINY-bin", [("train", 9), ("valid", 6), ("unlabelled", 4)])
    with pytest.raises(CannotStart, match="--split unlabelled has no labels"):
        compare(*models, "--data", more, "--split", "valid,unlabelled")
    only = write_data(tmp_path / "only" / "TINY-bin", [("train", 9)])
    with pytest.raises(CannotStart, match="no dev or test set with labels"):
        compare(*models, "--data", only)
