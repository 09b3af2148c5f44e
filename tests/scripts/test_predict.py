"""`scripts/predict.py`: writes the predictions of several models, or none after an error."""

import numpy as np
import pytest

from fairseq_kd.errors import CannotStart
from scripts.predict import main
from tests.tiny import write_data, write_teacher


@pytest.fixture
def model(tmp_path):
    return write_teacher(tmp_path / "run" / "checkpoint_best.pt")


def predict(*arguments) -> int:
    return main([*map(str, arguments), "--cpu"])


def test_every_dev_set_by_default(model, tmp_path, capsys):
    sentences = [("train", 9), ("valid", 40), ("valid1", 12), ("test", 5)]
    data = write_data(tmp_path / "TINY-bin", sentences)
    assert predict("--checkpoint", model.parent, "--data", data) == 0

    place = model.parent / "predictions"
    assert sorted(path.name for path in place.iterdir()) == ["valid.npz", "valid1.npz"]
    found = np.load(place / "valid1.npz")
    assert found["logits"].shape == (12, 2)
    assert found["labels"].dtype == np.int64
    accuracy = 100 * np.mean(found["logits"].argmax(1) == found["labels"])
    assert f"valid1.npz: TINY valid1, 12 sentences, accuracy {accuracy:.4g}, mcc" in capsys.readouterr().out


def test_splits_and_places_that_are_named(model, data, tmp_path):
    assert predict("--checkpoint", model, "--data", data, "--split", "train", "--out", tmp_path / "out") == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["train.npz"]
    assert not (model.parent / "predictions").exists()


def test_other_checkpoints_have_a_folder_of_their_own(model, data):
    other = model.with_name("checkpoint_last.pt")
    other.write_bytes(model.read_bytes())
    assert predict("--checkpoint", model, other, "--data", data) == 0

    place = model.parent / "predictions"
    assert (place / "valid.npz").read_bytes() == (place / "checkpoint_last" / "valid.npz").read_bytes()


def test_errors_come_before_the_first_file(model, data, tmp_path, capsys):
    with pytest.raises(SystemExit):
        predict("--checkpoint", model, model, "--data", data, "--out", tmp_path)
    assert f"--out {tmp_path}" in capsys.readouterr().err
    with pytest.raises(CannotStart, match=r"--checkpoint .*elsewhere does not exist"):
        predict("--checkpoint", model, tmp_path / "elsewhere", "--data", data)
    assert not (model.parent / "predictions").exists()


def test_data_without_a_dev_set_needs_a_split(model, tmp_path):
    data = write_data(tmp_path / "TINY-bin", [("train", 8)])
    with pytest.raises(CannotStart, match="has no dev set: name another split"):
        predict("--checkpoint", model, "--data", data)
