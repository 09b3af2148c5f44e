"""`scripts/convert_hf.py export --onnx`: onnxruntime computes the outputs of the model."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.convert import onnx
from fairseq_kd.errors import CannotStart
from fairseq_kd.evaluation.loaded_model import LoadedModel
from fairseq_kd.evaluation.scores import scores
from fairseq_kd.models.shape import ModelShape
from preprocess.encoders import Encoder, load_encoder
from preprocess.vocabulary import write_dictionary
from scripts.convert_hf import import_model, main
from tests.convert.conftest import HEAD, SEGMENTS, export, inputs_of, labelled, load, sentences, signals_of
from tests.tiny import SHAPE, weights, write_data, write_teacher

pytestmark = pytest.mark.slow

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

PRUNED = {"head_width": 2, "rank": 6}


def run(path: Path, tokens: torch.Tensor, types: torch.Tensor | None = None) -> torch.Tensor:
    """Return the only output of the file, without code of this package."""
    session = onnxruntime.InferenceSession(path)
    inputs = {name: value.numpy() for name, value in inputs_of(tokens, types).items()}
    assert [each.name for each in session.get_inputs()] == [*inputs]
    [output] = session.run(None, inputs)
    return torch.from_numpy(output)


@pytest.mark.parametrize(
    ("changes", "classes", "pairs"),
    [
        ({}, 2, True),
        ({"activation": "gelu_accurate", "layernorm_eps": 1e-3}, 1, False),
        ({"activation": "relu"}, None, True),
        (SEGMENTS, 3, True),
        ({**SEGMENTS, "activation": "tanh"}, None, False),
        (PRUNED, 2, True),
        ({**SEGMENTS, **PRUNED}, 1, True),
        ({"pre_layernorm": True, "bare_embeddings": True, "pooler_activation": "relu"}, 2, True),
    ],
)
def test_outputs_equal_those_of_torch_on_padded_batches_of_any_size(tmp_path, changes, classes, pairs):
    shape = replace(SHAPE, **changes)
    model = write_teacher(tmp_path / "model.pt", shape, classes)
    file = export(model, tmp_path / "out", "--onnx-only", "--without-tokenizer") / "model.onnx"
    assert sorted(path.name for path in file.parent.iterdir()) == ["README.md", "model.onnx"]
    assert "library_name: onnx\n" in (file.parent / "README.md").read_text()

    tokens, types = sentences(shape.pair_format, pairs)
    longest = torch.tensor([[0, *[7] * 38, 2], [0, 5, 2, *[1] * 37]])
    for batch, batch_types in (
        (tokens, types),
        (tokens[:1], types[:1]),
        (longest, torch.zeros_like(longest)),
    ):
        found = run(file, batch, batch_types if shape.segments else None)
        if classes:
            expected = signals_of(model, batch).logits
            assert found.shape == (len(batch), classes)
        else:
            signals = signals_of(model, batch, head=None)
            expected, found = signals.states[shape.layers][signals.mask], found[signals.mask]
        assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("changes", [{}, SEGMENTS], ids=["roberta", "bert"])
def test_the_file_next_to_a_model_of_transformers_has_its_inputs_and_logits(tmp_path, capsys, changes):
    data = labelled(tmp_path / "data", "no", "yes")
    shape = replace(SHAPE, **changes)
    model = write_teacher(tmp_path / "model.pt", shape, task={"data": str(data)})
    out = export(model, tmp_path / "out", "--onnx", "--without-tokenizer")
    files = "README.md config.json model.onnx model.safetensors".split()
    assert sorted(path.name for path in out.iterdir()) == files
    line = capsys.readouterr().out.splitlines()[-2]
    assert float(re.fullmatch(r"  onnx        model.onnx, .* MB, output logits, .* (\S+)", line)[1]) < 1e-5

    tokens, types = sentences(shape.pair_format)
    types = types if shape.segments else None
    with torch.no_grad():
        expected = load(out)(**inputs_of(tokens, types)).logits
    found = run(out / "model.onnx", tokens, types)
    assert_close(found, expected, atol=1e-5, rtol=1e-5)
    session = onnxruntime.InferenceSession(out / "model.onnx")
    names = session.get_modelmeta().custom_metadata_map["class_names"]
    assert json.loads(names) == ["no", "yes"]
    assert session.get_outputs()[0].shape == ["batch", 2]


def test_a_file_with_other_outputs_is_refused_and_removed(tmp_path, monkeypatch):
    model = write_teacher(tmp_path / "model.pt")
    outputs = onnx.OnnxFile.outputs
    monkeypatch.setattr(onnx.OnnxFile, "outputs", lambda *given: outputs(*given) + 2e-4)
    with pytest.raises(CannotStart, match="--onnx: .* by up to 2.0e-04"):
        export(model, tmp_path / "out", "--onnx", "--without-tokenizer")
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


@pytest.mark.parametrize("names", [("0", "1"), ("1", "0")], ids=["same order", "other order"])
def test_int8_halves_the_file_and_is_scored_beside_fp32(tmp_path, capsys, names):
    """Also if the data numbers the classes in another order than the model."""
    data = write_data(tmp_path / "data", sentences=(("valid", 60),))
    shape = replace(SHAPE, width=64, ffn=256)
    model = tmp_path / "model.pt"
    config = {**shape.config(), "class_names": list(names)}
    state = weights(shape, scale=0.1)
    state[f"classification_heads.{HEAD}.out_proj.bias"][1] += 0.13
    torch.save({"args": None, "cfg": {"model": config}, "model": state}, model)
    flags = ("--onnx", "--int8", "--data", data, "--without-tokenizer")
    out = export(model, tmp_path / "out", *flags)

    large, small = out / "model.onnx", out / "model_int8.onnx"
    assert small.stat().st_size < large.stat().st_size / 2
    tokens, _ = sentences("roberta")
    difference = (run(small, tokens) - run(large, tokens)).abs().max()
    assert 1e-3 < difference < 0.1

    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| valid")]
    [(_, predictions)] = LoadedModel.read(str(model), data).predict(["valid"], torch.device("cpu"))
    expected = scores(predictions)
    assert expected["mcc"] != 0  # both classes are predicted
    assert [row[:2] for row in rows] == [["valid", "60"]] * len(expected)
    assert {row[2]: row[3] for row in rows} == {name: f"{score:.2f}" for name, score in expected.items()}
    assert abs(float(rows[0][4]) - expected["accuracy"]) < 10
    assert "| split | sentences | metric | model.onnx | model_int8.onnx |" in lines
    assert "\n".join(lines[-5:]) in (out / "README.md").read_text()


def write_student(path: Path, shape: ModelShape, encoder: Encoder) -> None:
    """Write a model with the vocabulary of the encoder, and its dict.txt."""
    write_teacher(path, shape, symbols=encoder.symbols)
    write_dictionary(path.with_name("dict.txt"), encoder.symbols)


def test_a_sentencepiece_encoder_goes_with_the_onnx_file_alone(sentencepiece_folder, tmp_path):
    encoder = load_encoder(sentencepiece_folder)
    write_student(tmp_path / "model.pt", SHAPE, encoder)
    flags = ("--encoder-dir", sentencepiece_folder)
    with pytest.raises(CannotStart, match="is a sentencepiece encoder, .*--without-tokenizer.*--onnx-only"):
        export(tmp_path / "model.pt", tmp_path / "out", "--onnx", *flags)

    out = export(tmp_path / "model.pt", tmp_path / "out", "--onnx-only", *flags)
    files = "README.md dict.txt model.onnx sentencepiece.model".split()
    assert sorted(path.name for path in out.iterdir()) == files
    text = ["A red kite circles over the old mill."]
    assert load_encoder(out).encode(text) == encoder.encode(text)
    assert run(out / "model.onnx", torch.tensor([[0, *encoder.encode(text)[0], 2]])).shape == (1, 2)


def test_a_pruned_student_has_its_tokenizer_next_to_the_onnx_file(save_model, tmp_path, capsys):
    from transformers import AutoTokenizer

    _, folder = save_model("BertModel")
    import_model(folder, tmp_path / "teacher")
    encoder = load_encoder(tmp_path / "teacher")
    write_student(tmp_path / "model.pt", replace(SHAPE, **SEGMENTS, **PRUNED), encoder)
    flags = ("--encoder-dir", tmp_path / "teacher")
    with pytest.raises(CannotStart, match="is pruned .*--onnx-only"):
        export(tmp_path / "model.pt", tmp_path / "out", *flags)

    out = export(tmp_path / "model.pt", tmp_path / "out", "--onnx-only", *flags)
    batch = AutoTokenizer.from_pretrained(out)(["the cat sat", "dog"], ["a mat", "ran"], padding=True)
    [logits] = onnxruntime.InferenceSession(out / "model.onnx").run(None, {**batch.convert_to_tensors("np")})
    tokens = torch.tensor(batch["input_ids"])
    expected = signals_of(tmp_path / "model.pt", tokens, symbols=encoder.symbols).logits
    assert_close(torch.from_numpy(logits), expected, atol=1e-5, rtol=1e-5)
    assert f'Load it: onnxruntime.InferenceSession("{out}/model.onnx")' in capsys.readouterr().out


def test_a_masked_lm_gives_hidden_states(tmp_path, capsys):
    model = write_teacher(tmp_path / "model.pt", SHAPE, None, lm_head=True)
    file = export(model, tmp_path / "out", "--onnx-only", "--without-tokenizer") / "model.onnx"
    assert onnxruntime.InferenceSession(file).get_outputs()[0].name == "last_hidden_state"
    assert "  left out    masked-LM head\n" in capsys.readouterr().out


def test_missing_packages_and_flags_are_an_error_before_anything_is_written(tmp_path, monkeypatch):
    model = write_teacher(tmp_path / "model.pt")
    flags = ["export", "--checkpoint", str(model), "--out", str(tmp_path / "out"), "--without-tokenizer"]
    with pytest.raises(CannotStart, match="--int8 .*: add --onnx or --onnx-only"):
        main([*flags, "--int8"])
    with monkeypatch.context() as patch:
        patch.setattr(onnx, "LIMIT", 10_000)
        with pytest.raises(CannotStart, match="--onnx-only: .* has 0.0 GB of weights"):
            main([*flags, "--onnx-only"])
    monkeypatch.setattr(onnx, "find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(CannotStart, match="--onnx-only needs onnxruntime, .*pip install onnxruntime"):
        main([*flags, "--onnx-only"])
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]
