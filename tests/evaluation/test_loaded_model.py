"""Logits of loaded models equal those of the validations in training."""

import shutil

import numpy as np
import pytest
import torch

from fairseq_kd.errors import CannotStart
from fairseq_kd.evaluation.loaded_model import LoadedModel
from tests.evaluation.conftest import rename
from tests.tiny import SHAPE, train_command, train_here, write_data, write_teacher

CPU = torch.device("cpu")


def predictions(run, *splits, batch_size=None):
    model = LoadedModel.read(str(run.folder), run.data)
    return dict(model.predict(splits or ["valid"], CPU, batch_size))


def test_logits_are_those_of_the_validation(three_classes):
    found = predictions(three_classes, "valid", "valid1")

    assert found["valid"].logits.shape == (40, 3)
    assert found["valid1"].logits.shape == (30, 3)
    for split, expected in three_classes.seen.items():
        assert found[split].logits.dtype == np.float32
        np.testing.assert_array_equal(found[split].logits, expected)
        assert np.ptp(expected) > 0


def test_regression_has_one_number_a_sentence(regression):
    found = predictions(regression)["valid"]

    np.testing.assert_array_equal(found.logits, regression.seen["valid"])
    text = (regression.data / "label" / "valid.label").read_text().split()
    np.testing.assert_array_equal(found.labels, np.array(text, dtype=np.float64))


@pytest.mark.parametrize("batch_size", [1, 7, 40])
def test_the_size_of_a_batch_changes_nothing(three_classes, batch_size):
    np.testing.assert_allclose(
        predictions(three_classes, batch_size=batch_size)["valid"].logits,
        predictions(three_classes)["valid"].logits,
        atol=2e-6,
    )


def test_labels_are_in_the_order_of_the_logits(three_classes):
    model = LoadedModel.read(str(three_classes.folder), three_classes.data)
    [(_, found)] = model.predict(["valid1"], CPU)
    dataset = model.dataset("valid1")

    assert found.labels.dtype == np.int64
    assert found.labels.tolist() == [int(dataset[index]["target"]) for index in range(30)]


def test_the_data_is_found_in_the_folder_above(three_classes):
    model = LoadedModel.read(str(three_classes.folder), three_classes.data.parent)
    assert model.data == three_classes.data
    assert model.splits() == ["train", "valid", "valid1", "test", "test1"]


def test_data_without_metadata_is_described_by_the_checkpoint(three_classes, tmp_path):
    data = shutil.copytree(three_classes.data, tmp_path / "MNLI-bin")
    (data / "meta.json").unlink()

    model = LoadedModel.read(str(three_classes.folder), data)
    assert model.metadata.num_classes == 3
    assert set(model.splits()) == {"train", "valid", "valid1", "test", "test1"}
    [(_, found)] = model.predict(["valid"], CPU)
    np.testing.assert_array_equal(found.logits, three_classes.seen["valid"])


@pytest.mark.parametrize(("learned", "asked"), [("SST-2", "RTE"), ("MRPC", "SST-2"), ("QQP", "WNLI")])
def test_data_of_a_task_whose_classes_mean_something_else_is_refused(data, tmp_path, learned, asked):
    model, data = fine_tuned(tmp_path, learned), write_data(tmp_path / "bin")
    rename(data, asked)
    sentence = f"was fine-tuned on {learned}, but .* is {asked}, which has other classes: give the data of"
    with pytest.raises(CannotStart, match=sentence):
        LoadedModel.read(str(model), data)


@pytest.mark.parametrize(
    ("learned", "asked", "warned"),
    [
        ("QNLI", "RTE", True),
        ("QQP", "MRPC", True),
        ("MINE", "RTE", True),  # what its classes mean is not known
        ("RTE", "YOURS", True),
        ("RTE", "RTE", False),
        ("MNLI", "AX", False),
        (None, "RTE", False),
    ],
)
def test_another_task_with_the_same_classes_is_a_warning(tmp_path, caplog, learned, asked, warned):
    model, data = fine_tuned(tmp_path, learned, ["0", "1"]), write_data(tmp_path / "bin")
    rename(data, asked)
    LoadedModel.read(str(model), data)
    sentence = f"was fine-tuned on {learned}, but {data} is {asked}: the model was not trained on"
    assert (sentence in caplog.text) == warned
    assert bool(caplog.text) == warned


def fine_tuned(folder, task, names=()):
    """Write a checkpoint that names the task it was fine-tuned on; return its path."""
    model = write_teacher(folder / "model.pt")
    state = torch.load(model, weights_only=True)
    state["cfg"]["model"] |= {"fine_tuned_on": task, "class_names": list(names)}
    torch.save(state, model)
    return model


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"dictionary_hash": "0" * 64}, "number words differently"),
        ({"num_classes": 2}, "has 3 classes, but .* has 2: give"),
    ],
)
def test_data_of_another_vocabulary_or_of_other_classes_is_refused(three_classes, tmp_path, changes, found):
    data = write_data(tmp_path / "TINY-bin", classes=3)
    rename(data, "TINY", **changes)
    with pytest.raises(CannotStart, match=f"--checkpoint .* {found}"):
        LoadedModel.read(str(three_classes.folder), data)


def test_missing_data_and_a_missing_classifier_are_named(three_classes, data, tmp_path):
    with pytest.raises(CannotStart, match=r"--data .* has no data of MNLI, which --checkpoint"):
        LoadedModel.read(str(three_classes.folder), tmp_path)
    with pytest.raises(CannotStart, match="is unknown: give the folder <TASK>-bin"):
        LoadedModel.read(str(write_teacher(tmp_path / "model.pt")), tmp_path)
    model = write_teacher(tmp_path / "model.pt", SHAPE, classes=None)
    with pytest.raises(CannotStart, match="has no classification head sentence_classification_head: give"):
        LoadedModel.read(str(model), data)


@pytest.mark.slow
def test_a_first_stage_is_refused(data, teacher, tmp_path):
    alone = ["--criterion", "hidden_mse_learn", "--hard-weight", "0", "--soft-weight", "0"]
    command = train_command(data, tmp_path, "--teacher", str(teacher), "--init-layers", "0,3", *alone)
    train_here([*command, "--no-epoch-checkpoints"])
    with pytest.raises(CannotStart, match="whose classifier is not trained: give the checkpoint"):
        LoadedModel.read(str(tmp_path), data)


def test_a_split_that_is_not_there_is_named(three_classes):
    model = LoadedModel.read(str(three_classes.folder), three_classes.data)
    with pytest.raises(CannotStart, match="no split dev: it has test, test1, train, valid, valid1"):
        model.dataset("dev")
