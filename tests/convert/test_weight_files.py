"""Weights in any file that transformers writes are read; others are refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.convert.conftest import (
    assert_same_weights,
    edit_config,
    imported,
    pickle_weights,
    refusal,
    weights_of,
)

LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"
INDEX = f"{PICKLED}.index.json"


def write_shards(folder: Path, kind: str) -> list[Path]:
    """Split the folder's weights into three files with an index; return the three files."""
    weights = weights_of(folder)
    (folder / SAFE).unlink()
    stem, ending = kind.split(".")
    files = [f"{stem}-{number:05}-of-00003.{ending}" for number in (1, 2, 3)]
    where = {name: files[number % 3] for number, name in enumerate(weights)}
    for file in files:
        shard = {name: weights[name] for name in weights if where[name] == file}
        (save_file if ending == "safetensors" else torch.save)(shard, folder / file)
    (folder / f"{kind}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return [folder / file for file in files]


OLD = {"_use_new_zipfile_serialization": False}
FORMS = {
    "before torch 1.6": lambda folder: pickle_weights(folder, weights_of(folder), **OLD),
    "safetensors and another pickle": lambda folder: torch.save({"other": torch.zeros(1)}, folder / PICKLED),
    "shards": lambda folder: write_shards(folder, SAFE),
    "pickled shards": lambda folder: write_shards(folder, PICKLED),
}


@pytest.mark.parametrize(
    "remove", [(), ("model_type", "architectures")], ids=["with a type", "without a type"]
)
@pytest.mark.parametrize("form", FORMS)
def test_other_forms_of_the_weights(save_model, tmp_path, form, remove):
    _, folder = save_model("RobertaForSequenceClassification")
    expected = imported(folder, tmp_path / "whole")
    edit_config(folder, remove=remove)
    FORMS[form](folder)
    assert_same_weights(imported(folder, tmp_path / "other"), expected)


def test_a_shard_that_lacks_a_weight_is_named(save_model):
    _, folder = save_model("BertModel")
    shard = write_shards(folder, SAFE)[1]
    weights = load_file(shard)
    lost = sorted(weights)[0]
    del weights[lost]
    save_file(weights, shard)
    assert f"{shard.name} lacks {lost}" in refusal(folder)


@pytest.mark.parametrize("kind", [SAFE, PICKLED])
def test_a_missing_shard_is_named(save_model, kind):
    _, folder = save_model("BertModel")
    shards = write_shards(folder, kind)
    shards[1].unlink()
    expected = f"lacks {shards[1].name}, 1 of the 3 files that {kind}.index.json names: download"
    assert expected in refusal(folder)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (None, "", "neither model.safetensors nor pytorch_model.bin"),
        (SAFE, LFS_POINTER, "it is a Git LFS pointer, run git lfs pull"),
        (PICKLED, LFS_POINTER, "it is a Git LFS pointer, run git lfs pull"),
        *((name, content, f"{name} cannot be read") for name in (SAFE, PICKLED) for content in ("<html>", "")),
        *((INDEX, f'{{"weight_map": {files}}}', f"{INDEX} has no weight_map") for files in ("null", '["a"]', '{"a": 1}')),
    ],
)  # fmt: skip
def test_files_that_are_no_weights(save_model, name, content, sentence):
    _, folder = save_model("BertModel")
    (folder / SAFE).unlink()
    if name is not None:
        (folder / name).write_text(content)
    assert sentence in refusal(folder)


def test_code_in_a_pickle_is_not_run(save_model):
    _, folder = save_model("BertModel")
    pickle_weights(folder, {"weights": Path("x")})
    assert "has objects other than tensors" in refusal(folder)
