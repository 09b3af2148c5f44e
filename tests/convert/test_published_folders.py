"""`scripts/convert_hf.py import` of folders as they are published: old configs and names, shards, half precision."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from fairseq_kd.errors import CannotStart
from fairseq_kd.models.checkpoint import read_checkpoint
from preprocess.encoders import load_encoder
from scripts.convert_hf import import_model
from tests.convert.test_parity import assert_same_states, signals_of, tokenize_ours, tokenize_theirs
from tests.preprocess.conftest import AWKWARD

LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def replace_weights(folder: Path, weights: dict, **options) -> None:
    """Save the weights as pytorch_model.bin, and remove model.safetensors."""
    (folder / "model.safetensors").unlink(missing_ok=True)
    torch.save(weights, folder / "pytorch_model.bin", **options)


def edit_config(folder: Path, remove=(), encoding="utf-8", **changes) -> None:
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    text = json.dumps({name: value for name, value in config.items() if name not in remove})
    path.write_text(text, encoding=encoding)


def imported(folder: Path, out: Path) -> dict[str, torch.Tensor]:
    import_model(folder, out)
    return dict(read_checkpoint(str(out), "--teacher").weights)


def assert_same(first: dict, second: dict) -> None:
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def refusal(folder: Path) -> str:
    with pytest.raises(CannotStart) as error:
        import_model(folder, folder.parent / "refused")
    assert not (folder.parent / "refused").exists()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("class_name", "removed", "prefix"),
    [
        ("BertForPreTraining", ("model_type", "architectures"), "bert."),
        ("RobertaForMaskedLM", ("model_type", "architectures"), "module._orig_mod.roberta."),
        ("BertModel", ("model_type",), ""),
        ("RobertaModel", ("model_type",), ""),
        ("BertForMaskedLM", ("model_type", "architectures"), ""),
        ("RobertaForSequenceClassification", ("model_type", "architectures"), ""),
    ],
)
def test_a_config_without_model_type(save_model, tmp_path, class_name, removed, prefix):
    """The prefix of the weights tells the type, as in TinyBERT's releases; else the class, else the head."""
    _, folder = save_model(class_name)
    expected = imported(folder, tmp_path / "new")
    edit_config(folder, remove=removed, cell={}, structure=[], pre_trained="")
    own = class_name.partition("For")[0].removesuffix("Model").lower() + "."
    weights = {
        name.replace(own, prefix, 1) if name.startswith(own) else name: value
        for name, value in weights_of(folder).items()
    }
    replace_weights(folder, weights)
    assert_same(imported(folder, tmp_path / "old"), expected)


def test_an_unknown_type_is_an_error_with_the_line_to_add(save_model, tmp_path):
    _, folder = save_model("BertModel")
    edit_config(folder, remove=("model_type", "architectures"))
    assert 'add the line "model_type": "bert", or "roberta", to config.json' in refusal(folder)


@pytest.mark.parametrize("shown_by", ["weights", "architectures"])
def test_other_types_are_named(save_model, shown_by):
    _, folder = save_model("BertModel")
    edit_config(folder, remove=("model_type",), architectures=["DistilBertForMaskedLM"])
    if shown_by == "weights":
        edit_config(folder, remove=("architectures",))
        replace_weights(folder, {f"distilbert.{name}": value for name, value in weights_of(folder).items()})
    assert "has a model of type distilbert: use one of bert, roberta, xlm-roberta" in refusal(folder)


def assert_text_gives_the_same_states(model, folder: Path, out: Path, examples) -> None:
    """Ids and hidden states of the import equal those of transformers, from the text on."""
    tokens, batch = tokenize_ours(out, examples, "bert"), tokenize_theirs(folder, examples, "bert")
    assert torch.equal(tokens.ne(1), batch["attention_mask"].bool())
    with torch.no_grad():
        theirs = model(**batch, output_hidden_states=True).hidden_states
    assert_same_states(signals_of(out, tokens, head=False).states, theirs, tokens.ne(1))


@pytest.mark.parametrize("model_type", [{"model_type": "bert"}, {}], ids=["with a type", "without a type"])
def test_tinybert_as_published_without_tokenizer_files(save_model, tmp_path, capsys, model_type):
    """config.json of its own training code, pytorch_model.bin with one projection per hidden state, and vocab.txt."""
    model, folder = save_model("BertForPreTraining", pad_token_id=0)
    projections = {
        f"fit_denses.{number}.{part}": torch.ones(size)
        for number in range(4)
        for part, size in {"weight": (32, 24), "bias": (32,)}.items()
    }
    weights = {name: value for name, value in weights_of(folder).items() if "position_ids" not in name}
    words = weights["bert.embeddings.word_embeddings.weight"]
    replace_weights(folder, {**weights, **projections, "cls.predictions.decoder.weight": words})
    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
    config = {name: getattr(model.config, name) for name in (*sizes, "max_position_embeddings")}
    config |= {
        "attention_probs_dropout_prob": 0.1,
        "cell": {},
        **model_type,
        "emb_size": 24,
        "hidden_act": "gelu",
    }
    config |= {"hidden_dropout_prob": 0.1, "initializer_range": 0.02, "pre_trained": "", "structure": []}
    (folder / "config.json").write_text(json.dumps({**config, "type_vocab_size": 2}))
    for file in folder.iterdir():
        if file.name not in ("config.json", "pytorch_model.bin", "vocab.txt"):
            file.unlink()

    import_model(folder, tmp_path / "teacher")
    output = capsys.readouterr().out
    assert "  heads       masked LM\n" in output
    assert "cls.seq_relationship, fit_denses.0, fit_denses.1, fit_denses.2, fit_denses.3, pooler" in output
    (folder / "config.json").write_text(json.dumps({**config, "type_vocab_size": 2, "model_type": "bert"}))
    examples = [("The CAT sat", "on a MAT , the dog ran under"), ("a dog", "The"), ("big cats", "ok !")]
    assert_text_gives_the_same_states(model, folder, tmp_path / "teacher", examples)


@pytest.mark.parametrize("complete", [True, False], ids=["tokenizer.json", "vocab.txt"])
def test_multilingual_bert_is_cased_and_keeps_accents(save_model, tmp_path, complete):
    letters = [chr(code) for code in range(0x20, 0x500) if chr(code).isalpha()]
    entries = [
        "[PAD]",
        "[unused1]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *letters,
        *(f"##{each}" for each in letters),
    ]
    entries += "café Café CAFÉ ##fé русский Ελληνικά 日 本 語 ＡＢ हिन्दी . , '".split()
    model, folder = save_model("BertForMaskedLM", vocab_size=len(entries), pad_token_id=0)
    (folder / "vocab.txt").write_text("".join(f"{entry}\n" for entry in entries))
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false, "model_max_length": 512}')
    edit_config(folder, directionality="bidi", pooler_fc_size=24, pooler_type="first_token_transform")
    theirs = AutoTokenizer.from_pretrained(folder)
    if complete:
        theirs.backend_tokenizer.save(str(folder / "tokenizer.json"))

    import_model(folder, tmp_path / "teacher")
    encoder = load_encoder(tmp_path / "teacher")
    assert (encoder.name, encoder.lowercase) == ("wordpiece", False)
    texts = [*AWKWARD[:-1], "café CAFÉ Cafe\u0301 cafe\u0301s naïve Русский русский İstanbul ẞ"]
    rows = [[entries.index(encoder.vocabulary[i]) for i in row] for row in encoder.encode(texts)]
    assert rows == theirs(texts, add_special_tokens=False)["input_ids"]
    examples = [("café", "Русский русский"), ("日本語 Ελληνικά", "CAFÉ ."), ("Cafe\u0301", "a")]
    assert_text_gives_the_same_states(model, folder, tmp_path / "teacher", examples)


def test_tinyberts_classifier_is_left_out_because_of_its_relu(save_model, tmp_path, capsys):
    _, folder = save_model("BertForSequenceClassification")
    edit_config(folder, remove=("model_type", "architectures"))
    extra = {"fit_dense.weight": torch.ones(32, 24), "fit_dense.bias": torch.ones(32)}
    replace_weights(folder, {**weights_of(folder), **extra})
    assert not any(name.startswith("classification_heads") for name in imported(folder, tmp_path / "teacher"))
    output = capsys.readouterr().out
    assert "heads       none" in output
    assert "classification head (TinyBERT's, which has a ReLU between its two layers), fit_dense" in output


@pytest.mark.parametrize("class_name", ["BertForMaskedLM", "RobertaForMaskedLM"])
def test_tied_words_and_position_ids_may_be_stored(save_model, tmp_path, class_name):
    _, folder = save_model(class_name)
    expected = imported(folder, tmp_path / "short")
    kind, head = ("bert", "cls.predictions") if class_name.startswith("Bert") else ("roberta", "lm_head")
    weights = weights_of(folder)
    extra = {
        f"{head}.decoder.weight": weights[f"{kind}.embeddings.word_embeddings.weight"],
        f"{head}.decoder.bias": weights[f"{head}.bias"],
        f"{kind}.embeddings.position_ids": torch.arange(48)[None],
        f"{kind}.embeddings.token_type_ids": torch.zeros(1, 48, dtype=torch.long),
    }
    replace_weights(folder, {**weights, **extra})
    assert_same(imported(folder, tmp_path / "long"), expected)
    assert any(name.startswith("encoder.lm_head") for name in expected)


def test_a_masked_lm_head_without_its_bias_is_refused(save_model):
    _, folder = save_model("RobertaForMaskedLM")
    weights = weights_of(folder)
    replace_weights(
        folder,
        {name: value for name, value in weights.items() if "lm_head" not in name or "bias" not in name}
        | {name: weights[name] for name in ("lm_head.dense.bias", "lm_head.layer_norm.bias")},
    )
    assert "has no weights lm_head.bias" in refusal(folder)


def test_integer_weights_are_refused(save_model):
    _, folder = save_model("BertModel")
    weights = weights_of(folder)
    name = "encoder.layer.1.output.dense.weight"
    save_file({**weights, name: weights[name].to(torch.int8)}, folder / "model.safetensors")
    assert f"has {name} as torch.int8, so it seems to be quantized" in refusal(folder)


def test_safetensors_have_priority_over_a_pickle(save_model, tmp_path):
    _, folder = save_model("BertModel")
    expected = imported(folder, tmp_path / "alone")
    torch.save({"other": torch.zeros(1)}, folder / "pytorch_model.bin")
    assert_same(imported(folder, tmp_path / "both"), expected)


def test_a_pickle_from_before_torch_1_6(save_model, tmp_path):
    _, folder = save_model("BertModel")
    expected = imported(folder, tmp_path / "new")
    replace_weights(folder, weights_of(folder), _use_new_zipfile_serialization=False)
    assert_same(imported(folder, tmp_path / "old"), expected)


def test_two_weights_of_one_name_are_refused(save_model):
    _, folder = save_model("BertModel")
    weights = weights_of(folder)
    replace_weights(folder, {**weights, "embeddings.LayerNorm.gamma": weights["embeddings.LayerNorm.weight"]})
    assert "embeddings.LayerNorm.weight twice, once as embeddings.LayerNorm.gamma" in refusal(folder)


def write_shards(folder: Path, kind: str) -> list[Path]:
    """Split the folder's weights into three files with an index; return the three files."""
    weights = weights_of(folder)
    (folder / "model.safetensors").unlink()
    stem, ending = kind.split(".")
    files = [f"{stem}-{number:05}-of-00003.{ending}" for number in (1, 2, 3)]
    where = {name: files[number % 3] for number, name in enumerate(weights)}
    for file in files:
        shard = {name: weights[name] for name in weights if where[name] == file}
        (save_file if ending == "safetensors" else torch.save)(shard, folder / file)
    (folder / f"{kind}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return [folder / file for file in files]


@pytest.mark.parametrize("kind", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("remove", [(), ("model_type", "architectures")])
def test_weights_in_shards(save_model, tmp_path, kind, remove):
    _, folder = save_model("RobertaForSequenceClassification")
    expected = imported(folder, tmp_path / "whole")
    edit_config(folder, remove=remove)
    write_shards(folder, kind)
    assert_same(imported(folder, tmp_path / "shards"), expected)


def test_a_shard_that_lacks_a_weight_is_named(save_model):
    _, folder = save_model("BertModel")
    shard = write_shards(folder, "model.safetensors")[1]
    weights = load_file(shard)
    lost = sorted(weights)[0]
    del weights[lost]
    save_file(weights, shard)
    assert f"{shard.name} lacks {lost}" in refusal(folder)


@pytest.mark.parametrize("weight_map", [None, ["a"], {"a": 1}])
def test_an_index_without_a_file_for_each_weight_is_refused(save_model, weight_map):
    _, folder = save_model("BertModel")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert "pytorch_model.bin.index.json has no weight_map" in refusal(folder)


@pytest.mark.parametrize("kind", ["model.safetensors", "pytorch_model.bin"])
def test_a_missing_shard_is_named(save_model, kind):
    _, folder = save_model("BertModel")
    shards = write_shards(folder, kind)
    shards[1].unlink()
    assert f"lacks {shards[1].name}, 1 of the 3 files that {kind}.index.json names: download" in refusal(
        folder
    )


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (LFS_POINTER, "it is a Git LFS pointer, run git lfs pull"),
        ("<!DOCTYPE html>", "cannot be read"),
        ("", "cannot be read"),
    ],
)
def test_files_that_are_no_weights(save_model, name, content, sentence):
    _, folder = save_model("BertModel")
    (folder / "model.safetensors").unlink()
    (folder / name).write_text(content)
    message = refusal(folder)
    assert f"{name} cannot be read" in message
    assert sentence in message


def test_names_of_classes_keep_the_order_of_their_numbers(save_model, tmp_path):
    _, folder = save_model("BertForSequenceClassification", num_labels=11)
    names = {str(number): f"class {number}" for number in reversed(range(11))}
    edit_config(folder, id2label=names)
    import_model(folder, tmp_path / "teacher")
    assert read_checkpoint(str(tmp_path / "teacher"), "--teacher").class_names == tuple(
        f"class {i}" for i in range(11)
    )
