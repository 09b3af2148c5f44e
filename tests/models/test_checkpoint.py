import argparse
import os

import pytest
import torch

from fairseq_kd.errors import CannotStart
from fairseq_kd.models.checkpoint import read_checkpoint, upgrade_state_dict
from tests.tiny import SHAPE, weights, write_teacher

CONFIG = {"encoder_attention_heads": 4, "activation_fn": "gelu", "pooler_activation_fn": "tanh"}


def test_a_checkpoint_is_read_from_file_or_folder(tmp_path):
    path = write_teacher(tmp_path / "model.pt", classes=3)
    for given in (path, tmp_path):
        checkpoint = read_checkpoint(str(given), "--teacher")
        assert checkpoint.shape == SHAPE
        assert checkpoint.words == 65
        assert checkpoint.classes("sentence_classification_head") == 3
        assert checkpoint.classes("other") is None


def test_the_best_checkpoint_of_a_run_comes_first(tmp_path):
    write_teacher(tmp_path / "model.pt", classes=3)
    write_teacher(tmp_path / "checkpoint_best.pt", classes=5)
    assert read_checkpoint(str(tmp_path), "--teacher").classes("sentence_classification_head") == 5


def test_an_args_namespace_serves_as_model_config(tmp_path):
    torch.save({"args": argparse.Namespace(**CONFIG), "model": weights(SHAPE)}, tmp_path / "old.pt")
    assert read_checkpoint(str(tmp_path / "old.pt"), "--teacher").shape == SHAPE


def test_the_first_release_of_roberta_is_understood():
    new = weights(SHAPE)
    old = {}
    for name, value in new.items():
        name = name.replace("encoder.sentence_encoder", "decoder.sentence_encoder")
        name = name.replace(".layernorm_embedding.", ".emb_layer_norm.")
        if ".q_proj." in name:
            keys, values = (new[_new_name(name).replace("q_proj", other)] for other in ("k_proj", "v_proj"))
            old[name.replace("q_proj.", "in_proj_")] = torch.cat([value, keys, values])
        elif ".k_proj." not in name and ".v_proj." not in name:
            old[name] = value
    old["decoder.sentence_encoder.version"] = torch.tensor([1.0])

    restored = upgrade_state_dict(old)
    assert restored.keys() == new.keys()
    assert all(torch.equal(restored[name], new[name]) for name in new)


def _new_name(name: str) -> str:
    return name.replace("decoder.", "encoder.").replace(".emb_layer_norm.", ".layernorm_embedding.")


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, r"does not exist: give a checkpoint file"),
        (b"garbage", "cannot be read as a checkpoint .*may be damaged"),
        (truncated, "cannot be read as a checkpoint .*may be damaged"),
        ({"model": {"a": os.getcwd}}, "unsafe to load"),
        ({"weights": {}}, "has no fairseq model and model config"),
        ([1, 2], "has no fairseq model and model config"),
        ({"cfg": {"model": {"encoder_attention_heads": 4}}, "model": {}}, "is not a RoBERTa or BERT encoder"),
    ],
)
def test_an_invalid_checkpoint_is_an_error(tmp_path, content, found):
    path = tmp_path / "model.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is truncated:
        truncated(write_teacher(path))
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(CannotStart, match=rf"^Cannot start: --teacher .*model\.pt .*{found}") as raised:
        read_checkpoint(str(path), "--teacher")
    assert "\n" not in str(raised.value)


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(CannotStart, match="is a folder without checkpoint_best.pt or model.pt"):
        read_checkpoint(str(tmp_path), "--init-from")


def test_reading_one_checkpoint_leaves_others_loadable(tmp_path):
    read_checkpoint(str(write_teacher(tmp_path / "model.pt")), "--teacher")
    torch.save({"args": argparse.Namespace(arch="x")}, tmp_path / "other.pt")
    assert torch.load(tmp_path / "other.pt", weights_only=True)["args"].arch == "x"


def test_dataparallels_prefix_is_removed(tmp_path):
    new = weights(SHAPE)
    state = {"cfg": {"model": CONFIG}, "model": {f"module.{name}": value for name, value in new.items()}}
    torch.save(state, tmp_path / "model.pt")
    checkpoint = read_checkpoint(str(tmp_path), "--init-from")
    assert checkpoint.shape == SHAPE
    assert checkpoint.weights.keys() == new.keys()


@pytest.mark.parametrize("given", ["", "model.safetensors", "pytorch_model.bin"])
def test_hugging_faces_files_are_sent_to_the_converter(tmp_path, given):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").touch()
    torch.save({"bert.pooler.dense.bias": torch.zeros(2)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CannotStart, match=r"--teacher .*convert it first \(scripts/convert_hf.py import"):
        read_checkpoint(str(tmp_path / given), "--teacher")
