"""The file that keeps predictions."""

from pathlib import Path

import numpy as np
import pytest

from fairseq_kd.evaluation.predictions import Predictions, predictions_folder


def test_what_is_written_is_read(tmp_path):
    logits = np.arange(6, dtype=np.float32).reshape(3, 2)
    Predictions(logits, np.array([0, 1, 1])).write(tmp_path / "new" / "valid.npz")

    found = Predictions.read(tmp_path / "new" / "valid.npz")
    np.testing.assert_array_equal(found.logits, logits)
    assert found.labels.tolist() == [0, 1, 1]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["valid.npz"]


def test_without_labels_there_is_no_such_array(tmp_path):
    Predictions(np.zeros((3, 2), np.float32)).write(tmp_path / "test.npz")
    assert np.load(tmp_path / "test.npz").files == ["logits"]
    assert Predictions.read(tmp_path / "test.npz").labels is None


@pytest.mark.parametrize(
    ("checkpoint", "place"),
    [
        ("runs/a/checkpoint_best.pt", "runs/a/predictions"),
        ("models/b/model.pt", "models/b/predictions"),
        ("runs/a/checkpoint_last.pt", "runs/a/predictions/checkpoint_last"),
        ("runs/a/checkpoint_1_500.pt", "runs/a/predictions/checkpoint_1_500"),
    ],
)
def test_where_predictions_are_kept(checkpoint, place):
    assert predictions_folder(Path(checkpoint)) == Path(place)
