"""Data, vocabulary and classes of a checkpoint that is exported."""

from pathlib import Path

import pytest
import torch

from fairseq_kd.errors import CannotStart
from fairseq_kd.evaluation import provenance
from fairseq_kd.models.checkpoint import Checkpoint, read_checkpoint
from tests.evaluation.conftest import rename
from tests.tiny import write_data, write_teacher

HEAD = "sentence_classification_head"


def read(folder: Path, data: Path | None = None, classes: int | None = 2, **config) -> Checkpoint:
    """Write and read a checkpoint that was trained on `data`."""
    path = write_teacher(folder / "model.pt", classes=classes)
    state = torch.load(path, weights_only=True)
    state["cfg"]["model"] |= config
    state["cfg"]["task"] = {"data": str(data)}
    torch.save(state, path)
    return read_checkpoint(str(path), "--checkpoint")


def test_the_training_data_is_found_if_it_still_exists(data, tmp_path):
    assert provenance.find_training_data(None, read(tmp_path, data)) == data
    assert provenance.find_training_data(None, read(tmp_path, tmp_path / "gone")) is None


def test_the_dictionary_is_that_of_the_data_or_next_to_the_checkpoint(data, tmp_path):
    checkpoint = read(tmp_path)
    assert provenance.find_dictionary(data, checkpoint) == data / "input0" / "dict.txt"
    with pytest.raises(CannotStart, match="--checkpoint .* has no dict.txt next to it: give --data"):
        provenance.find_dictionary(None, checkpoint)
    (tmp_path / "dict.txt").write_text("a 1\n")
    with pytest.raises(CannotStart, match="different vocabularies: give data"):
        provenance.find_dictionary(None, checkpoint)


def test_only_a_trained_head_is_exported(tmp_path):
    assert provenance.trained_head(read(tmp_path)) == HEAD
    assert provenance.trained_head(read(tmp_path, classes=None)) is None


def test_class_names_are_those_of_the_checkpoint_else_of_its_data(data, tmp_path):
    named = read(tmp_path, class_names=["no", "yes"])
    assert provenance.class_labels(named, HEAD, data) == ("no", "yes")
    assert provenance.class_labels(read(tmp_path), HEAD, data) == ("0", "1")
    assert provenance.class_labels(read(tmp_path), HEAD, None) == ()
    with pytest.raises(CannotStart, match="has 3 classes, but .* has 2: give the data it was fine-tuned on"):
        provenance.class_labels(read(tmp_path, classes=3), HEAD, data)


def test_classes_are_put_in_the_order_of_the_data(data, tmp_path):
    reordered = provenance.in_order_of_data(read(tmp_path, class_names=["1", "0"]), data)
    assert reordered.class_names == ("0", "1")
    with pytest.raises(CannotStart, match="Cannot export: --checkpoint .* has the classes a, b, but"):
        provenance.in_order_of_data(read(tmp_path, class_names=["a", "b"]), data)


def test_the_scale_of_scores_is_that_of_the_checkpoint_else_of_the_data(tmp_path):
    data = write_data(tmp_path / "data", regression=True)
    rename(data, "STS-B", score_scale=5.0)
    metadata = provenance.read_metadata(data)
    assert provenance.score_scale(read(tmp_path, classes=1), metadata) == 5.0
    assert provenance.score_scale(read(tmp_path, classes=1, score_scale=2.0), metadata) == 2.0
    assert provenance.score_scale(read(tmp_path, classes=1), None) == 1.0
