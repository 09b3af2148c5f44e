"""Classes of data with and without metadata."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from fairseq_kd.errors import CannotStart
from fairseq_kd.tasks.labels import metadata_of
from tests.tiny import write_data


def metadata(data: Path, num_classes: int | None = None, regression_target: bool = False):
    flags = {"num_classes": num_classes, "regression_target": regression_target}
    return metadata_of(SimpleNamespace(data=str(data), **flags), data / "input0" / "dict.txt")


@pytest.fixture
def stock(tmp_path) -> Path:
    """Return data without metadata, as fairseq's scripts write it."""
    data = write_data(tmp_path / "data")
    (data / "meta.json").unlink()
    return data


def test_classes_come_from_the_dictionary_of_labels_or_from_the_flag(stock):
    found = metadata(stock)
    assert (found.num_classes, found.labels, found.pairs, found.pair_format) == (
        2,
        ("0", "1"),
        True,
        "roberta",
    )

    (stock / "label" / "dict.txt").unlink()
    with pytest.raises(CannotStart, match=r"no meta\.json, and no label/dict\.txt .*: give --num-classes"):
        metadata(stock)
    with pytest.raises(CannotStart, match=r"and labels without label/dict\.txt, .*: copy that file"):
        metadata(stock, 2)
    shutil.rmtree(stock / "label")
    found = metadata(stock, 2)
    assert (found.num_classes, found.labels) == (2, ())


@pytest.mark.parametrize(
    ("classes", "labels"), [(2, ("b", "a")), (3, ("b", "a", "c")), (4, ("b", "a", "c", "madeupword0000"))]
)
def test_more_or_fewer_classes_than_the_dictionary_names(stock, caplog, classes, labels):
    (stock / "label" / "dict.txt").write_text("b 9\na 8\nc 1\nmadeupword0000 0\n")
    assert metadata(stock, classes).labels == labels
    warned = f"dict.txt has 3 classes (b, a, c), expected {classes}" in caplog.text
    assert warned == (classes != 3)


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ((2, True), "--num-classes 2 conflicts with --regression-target"),
        ((1, False), "--num-classes 1 is too few: give 2 or more, or .*--regression-target"),
        ((0, False), "--num-classes 0 is too few"),
    ],
)
def test_flags_of_stock_data_that_conflict(stock, flags, found):
    with pytest.raises(CannotStart, match=rf"has no meta\.json, .*{found}"):
        metadata(stock, *flags)


@pytest.mark.parametrize("classes", [1, None])
def test_stock_data_of_a_regression(tmp_path, classes):
    data = write_data(tmp_path / "data", regression=True)
    meta = json.loads((data / "meta.json").read_text())
    (data / "meta.json").unlink()
    found = metadata(data, classes, regression_target=True)
    assert (found.regression, found.num_classes, found.dictionary_hash) == (True, 1, meta["dictionary_hash"])


def test_flags_that_conflict_with_the_metadata(data):
    with pytest.raises(CannotStart, match="--num-classes 3 conflicts with .* which has 2"):
        metadata(data, 3)
    with pytest.raises(CannotStart, match="--regression-target conflicts with .* which has 2"):
        metadata(data, regression_target=True)
