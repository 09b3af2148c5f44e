"""Classes of a converted classifier, beside those of the data."""

import pytest
import torch

from fairseq_kd.models.checkpoint import Checkpoint, read_checkpoint
from fairseq_kd.models.class_order import in_order_of
from tests.tiny import SHAPE, write_teacher

HEAD = "sentence_classification_head"
NLI = ("entailment", "neutral", "contradiction")


def classifier(path, names: list[str]) -> Checkpoint:
    """One with random weights and classes of these names, as conversion writes it."""
    write_teacher(path, SHAPE, classes=len(names))
    state = torch.load(path, weights_only=True)
    state["cfg"]["task"] = {"labels": names}
    torch.save(state, path)
    return read_checkpoint(str(path), "--teacher")


@pytest.mark.parametrize(
    ("names", "labels", "rows"),
    [
        (["contradiction", "neutral", "entailment"], NLI, [2, 1, 0]),
        (["NEUTRAL", "CONTRADICTION", "ENTAILMENT"], NLI, [2, 0, 1]),
        (["not-entailment", "Entailment"], ("entailment", "not_entailment"), [1, 0]),
        (["LABEL_1", "LABEL_0"], ("0", "1"), [1, 0]),
    ],
)
def test_classes_are_put_in_the_order_of_the_data(tmp_path, names, labels, rows):
    given = classifier(tmp_path / "model.pt", names)
    found = in_order_of(labels, given, HEAD, "--teacher")
    for name, value in given.weights.items():
        of_head = name.startswith(f"classification_heads.{HEAD}.out_proj.")
        assert torch.equal(found.weights[name], value[rows] if of_head else value)
    assert found.class_names == tuple(names[row] for row in rows)
    assert in_order_of(labels, found, HEAD, "--teacher") is found


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["Entailment", "NEUTRAL", "contradiction"], NLI),
        (["LABEL_0", "LABEL_1"], ("0", "1")),
        (["a", "b", "c"], ("0", "1")),  # their number is refused elsewhere
        (["LABEL_0"], ()),
    ],
)
def test_classes_in_order_stay(tmp_path, caplog, names, labels):
    given = classifier(tmp_path / "model.pt", names)
    assert in_order_of(labels, given, HEAD, "--teacher") is given
    assert not caplog.records


def test_of_classes_with_other_names_a_warning_tells(tmp_path, caplog):
    given = classifier(tmp_path / "model.pt", ["NEGATIVE", "POSITIVE"])
    assert in_order_of(("0", "1"), given, HEAD, "--teacher") is given
    assert (
        "calls its classes NEGATIVE, POSITIVE, the data 0, 1: they are taken for one another" in caplog.text
    )


def test_a_model_trained_here_has_the_order_of_its_data(tmp_path, caplog):
    write_teacher(tmp_path / "model.pt")
    given = read_checkpoint(str(tmp_path), "--teacher")
    assert in_order_of(("0", "1"), given, HEAD, "--teacher") is given
    assert not caplog.records
