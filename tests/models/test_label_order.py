"""Classes of a converted classifier, beside those of the data."""

import pytest
import torch

from fairseq_kd.models.checkpoint import Checkpoint, read_checkpoint
from fairseq_kd.models.label_order import order_error, order_warning, reorder_labels
from tests.tiny import SHAPE, write_teacher

HEAD = "sentence_classification_head"
NLI = ("entailment", "neutral", "contradiction")


def classifier(path, names: list[str]) -> Checkpoint:
    """One with random weights and classes of these names, as conversion writes it."""
    write_teacher(path, SHAPE, classes=len(names))
    state = torch.load(path, weights_only=True)
    state["cfg"]["model"]["class_names"] = names
    torch.save(state, path)
    return read_checkpoint(str(path), "--teacher")


# names of the checkpoint | of the data | its rows in the order of the data
REORDERED = """
contradiction,neutral,entailment | entailment,neutral,contradiction | 2 1 0
NEUTRAL,CONTRADICTION,ENTAILMENT | entailment,neutral,contradiction | 2 0 1
not-entailment,Entailment | entailment,not_entailment | 1 0
LABEL_1,LABEL_0 | 0,1 | 1 0
LABEL_0,LABEL_1 | 1,0 | 1 0
POSITIVE,NEGATIVE | 0,1 | 1 0
0,1 | equivalent,not_equivalent | 1 0
1,-1,0 | -1,0,1 | 1 2 0
c,C | C,c | 1 0
""".strip().splitlines()


@pytest.mark.parametrize("row", REORDERED)
def test_classes_are_put_in_the_order_of_the_data(tmp_path, row):
    names, labels, rows = row.split(" | ")
    labels, rows = tuple(labels.split(",")), list(map(int, rows.split()))
    given = classifier(tmp_path / "model.pt", names.split(","))
    found = reorder_labels(labels, given, HEAD, "--teacher")
    for name, value in given.weights.items():
        of_head = name.startswith(f"classification_heads.{HEAD}.out_proj.")
        assert torch.equal(found.weights[name], value[rows] if of_head else value)
    assert found.class_names == labels
    assert order_error(labels, given, HEAD, "--teacher") is None
    assert reorder_labels(labels, found, HEAD, "--teacher") is found


@pytest.mark.parametrize(
    ("names", "labels", "known"),
    [
        (["Entailment", "NEUTRAL", "contradiction"], NLI, NLI),
        (["LABEL_0", "LABEL_1"], ("0", "1"), ("0", "1")),
        (["unacceptable", "acceptable"], ("0", "1"), ("0", "1")),
        (["a", "b", "c"], ("0", "1"), ("a", "b", "c")),  # their number is refused elsewhere
        (["LABEL_0", "LABEL_1"], (), ("LABEL_0", "LABEL_1")),
        (["LABEL_0"], (), ()),  # a regression
    ],
)
def test_classes_in_order_stay(tmp_path, caplog, names, labels, known):
    given = classifier(tmp_path / "model.pt", names)
    found = reorder_labels(labels, given, HEAD, "--teacher")
    assert found.weights is given.weights
    assert found.class_names == known
    assert order_error(labels, given, HEAD, "--teacher") is None
    assert not caplog.records


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["LABEL_0", "LABEL_1", "LABEL_2"], NLI),
        (["LABEL_0", "LABEL_1"], ("entailment", "not_entailment")),
        (["entailment", "not_entailment"], ("0", "1")),  # 0 and 1 in WNLI, 1 and 0 in QNLI
        (["yes", "no"], ("0", "1")),
        (["a", "A"], ("a", "b")),
        (["LABEL_0", "0"], ("0", "1")),
    ],
)
def test_names_that_cannot_be_matched_are_an_error(tmp_path, names, labels):
    given = classifier(tmp_path / "model.pt", names)
    assert reorder_labels(labels, given, HEAD, "--teacher") is given
    error = order_error(labels, given, HEAD, "--teacher")
    assert f"has the classes {', '.join(names)}, but the data has {', '.join(labels)}: give" in error
    assert "python scripts/name_classes.py --checkpoint" in error


def test_names_of_an_earlier_conversion_are_read(tmp_path):
    write_teacher(tmp_path / "model.pt")
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    state["cfg"]["task"] = {"labels": ["no", "yes"]}
    torch.save(state, tmp_path / "model.pt")
    assert read_checkpoint(str(tmp_path), "--teacher").class_names == ("no", "yes")


def test_names_are_those_of_the_head_that_was_trained(tmp_path):
    path = tmp_path / "model.pt"
    classifier(path, ["b", "a"])
    state = torch.load(path, weights_only=True)
    for name in list(state["model"]):
        if name.startswith("classification_heads."):
            state["model"][name.replace(HEAD, "mnli")] = state["model"].pop(name)
    torch.save(state, path)
    alone = read_checkpoint(str(path), "--teacher")
    assert (alone.head_name, alone.class_names) == ("mnli", ("b", "a"))
    assert reorder_labels(("a", "b"), alone, "mnli", "--teacher").class_names == ("a", "b")

    extra = {name.replace("mnli", HEAD): value for name, value in alone.head("mnli").items()}
    state["model"] |= extra
    state["cfg"]["task"] = {"classification_head_name": "mnli"}
    torch.save(state, path)
    two = read_checkpoint(str(path), "--teacher")
    assert (two.head_name, two.class_names) == ("mnli", ("b", "a"))
    assert reorder_labels(("a", "b"), two, HEAD, "--teacher") is two
    assert "has no class names" in order_warning(("a", "b"), two, HEAD, "--teacher")
