"""An export answers in transformers, without this package, as our model does; other models are refused."""

import json
from argparse import Namespace
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.models.checkpoint import read_checkpoint
from fairseq_kd.models.roberta_student import RobertaStudent
from fairseq_kd.teachers.live import NO_DROPOUT
from scripts.convert_hf import import_model
from tests.convert.conftest import (
    HEAD,
    SEGMENTS,
    assert_same_signals,
    export,
    export_refusal,
    inputs_of,
    load,
    sentences,
    signals_of,
)
from tests.tiny import SHAPE, SYMBOLS, dictionary_of, weights, write_teacher

BERT = {"pair_format": "bert", "layernorm_eps": 1e-12}


@pytest.mark.parametrize(
    ("changes", "classes", "pairs"),
    [
        ({}, 2, True),
        ({"activation": "relu", "layernorm_eps": 1e-3}, 1, False),
        ({"activation": "gelu_accurate"}, None, True),
        (SEGMENTS, 3, True),
        ({**SEGMENTS, "activation": "tanh"}, None, False),
        (BERT, 2, True),
    ],
)
def test_states_and_logits(tmp_path, changes, classes, pairs):
    shape = replace(SHAPE, **changes)
    model = write_teacher(tmp_path / "model.pt", shape, classes)
    out = export(model, tmp_path / "out", "--without-tokenizer")
    tokens, types = sentences(shape.pair_format, pairs)
    inputs = inputs_of(tokens, types if shape.segments else None)
    with torch.no_grad():
        found = load(out, "SequenceClassification" if classes else "")(**inputs, output_hidden_states=True)
    assert_same_signals(signals_of(model, tokens, HEAD if classes else None), found, tokens.ne(1))


@pytest.mark.parametrize("changes", [{}, {**SEGMENTS, "activation": "relu"}], ids=["roberta", "bert"])
def test_masked_lm(tmp_path, changes):
    shape = replace(SHAPE, **changes)
    model = write_teacher(tmp_path / "model.pt", shape, None, lm_head=True)
    out = export(model, tmp_path / "out", "--without-tokenizer")
    student = RobertaStudent(Namespace(**NO_DROPOUT), shape, dictionary_of(SYMBOLS), lm_head=True).eval()
    student.load_state_dict(torch.load(model, weights_only=True)["model"])
    tokens, types = sentences(shape.pair_format)
    with torch.no_grad():
        expected = student(tokens)[0]
        found = load(out, "MaskedLM")(**inputs_of(tokens, types if shape.segments else None)).logits
    assert_close(found[tokens.ne(1)], expected[tokens.ne(1)], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("class_name", "types"),
    [
        ("BertModel", 2),
        ("BertForMaskedLM", 1),
        ("BertForSequenceClassification", 2),
        ("RobertaForMaskedLM", 1),
        ("RobertaForSequenceClassification", 1),
    ],
)
def test_import_export_import_gives_the_same(save_model, tmp_path, class_name, types):
    _, folder = save_model(class_name, type_vocab_size=types, hidden_act="gelu")
    import_model(folder, tmp_path / "first")
    out = export(tmp_path / "first", tmp_path / "out")
    assert json.loads((out / "config.json").read_text())["architectures"] == [class_name]
    import_model(out, tmp_path / "second")

    first, second = (read_checkpoint(str(tmp_path / name), "--teacher") for name in ("first", "second"))
    for name in ("shape", "class_names", "dictionary_hash"):
        assert getattr(first, name) == getattr(second, name)
    assert first.weights.keys() == second.weights.keys()
    for name, value in first.weights.items():
        assert torch.equal(value, second.weights[name]), name


def test_dropout_is_that_of_the_training_and_half_precision_becomes_float32(tmp_path):
    dropout = {"dropout": 0.2, "attention_dropout": 0.05, "pooler_dropout": 0.3}
    state = {name: value.half() for name, value in weights(SHAPE).items()}
    saved = {"args": None, "cfg": {"model": SHAPE.config() | dropout}, "model": state}
    torch.save(saved, tmp_path / "model.pt")
    model = load(export(tmp_path / "model.pt", tmp_path / "out", "--without-tokenizer"))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    found = model.config
    assert (found.hidden_dropout_prob, found.attention_probs_dropout_prob) == (0.2, 0.05)
    assert found.classifier_dropout == 0.3


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"head_width": 2}, "is pruned (4 layers, width 16, 4 heads of 2, ffn 32)"),
        ({"rank": 6}, "is pruned (4 layers, width 16, 4 heads, ffn 32, embeddings of rank 6)"),
        ({"pre_layernorm": True}, "has LayerNorms before attention and feed-forward"),
        ({"bare_embeddings": True}, "has no LayerNorm after its embeddings"),
        ({"segments": 2}, "has segment embeddings and RoBERTa's pair format"),
        ({"activation": "linear"}, "has the activation linear"),
        ({"pooler_activation": "relu"}, "has relu in its classification head"),
        ({"activation": "relu"}, "has relu in its masked-LM head"),  # RoBERTa's is always gelu
    ],
)
def test_a_model_that_transformers_cannot_express_is_refused(tmp_path, changes, sentence):
    masked = "masked-LM" in sentence
    shape = replace(SHAPE, **changes)
    model = write_teacher(tmp_path / "model.pt", shape, None if masked else 2, lm_head=masked)
    found = export_refusal(model, tmp_path / "out", "--without-tokenizer")
    assert found.startswith(f"Cannot export: --checkpoint {model} {sentence}")
