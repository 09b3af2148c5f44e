import pytest
import torch

from fairseq_kd.errors import CannotStart
from fairseq_kd.models.checkpoint import read_checkpoint
from tests.tiny import SYMBOLS, build, write_teacher


@pytest.fixture
def requirements(data, teacher):
    return build(data, teacher, "kd")[0].data


def read(folder, **changed):
    """Write a checkpoint with another vocabulary or model config, and read it."""
    path = write_teacher(folder / "model.pt")
    state = torch.load(path, weights_only=True)
    state["cfg"]["model"] |= changed
    torch.save(state, path)
    return read_checkpoint(str(path), "--teacher")


def test_a_vocabulary_of_another_order_or_size_is_refused(requirements, tmp_path):
    (tmp_path / "dict.txt").write_text("".join(f"{symbol} 9\n" for symbol in SYMBOLS))
    requirements.check_vocabulary(read(tmp_path), "--teacher")
    (tmp_path / "dict.txt").write_text("".join(f"{symbol} 1\n" for symbol in reversed(SYMBOLS)))
    checkpoint = read(tmp_path)
    with pytest.raises(CannotStart, match="--teacher .* number words differently"):
        requirements.check_vocabulary(checkpoint, "--teacher")
    name = "encoder.sentence_encoder.embed_tokens.weight"
    checkpoint.weights[name] = checkpoint.weights[name][:50]
    with pytest.raises(CannotStart, match="--teacher .* 50 words, but the data .* 65"):
        requirements.check_vocabulary(checkpoint, "--teacher")


def test_separators_are_those_of_the_data(requirements):
    for fits in ("roberta", None):
        requirements.check_pair_format(fits)
    with pytest.raises(CannotStart, match="format roberta, but the model needs bert"):
        requirements.check_pair_format("bert")


def test_classes_of_a_loaded_model_or_of_a_resumed_run_are_in_the_order_of_the_data(requirements, tmp_path):
    for fits in (("0", "1"), ("LABEL_0", "LABEL_1"), ("a", "b", "c"), ()):
        requirements.check_order_of_model(fits)
    with pytest.raises(CannotStart, match="the model has the classes 1, 0 in this order"):
        requirements.check_order_of_model(("1", "0"))
    requirements.check_order_of_run(read(tmp_path, class_names=["0", "1"]), "--save-dir")
    with pytest.raises(CannotStart, match="was started with the classes 1, 0 in this order, but .*: give"):
        requirements.check_order_of_run(read(tmp_path, class_names=["1", "0"]), "--save-dir")
