"""`scripts/export_fairseq.py`: stock fairseq, without this package, computes the same as the model."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import gelu, layer_norm

from fairseq_kd.errors import CannotStart
from fairseq_kd.models.checkpoint import read_checkpoint
from scripts.export_fairseq import main
from tests.convert.conftest import sentences, signals_of
from tests.tiny import SHAPE, write_data, write_teacher

# Runs in a separate process without --user-dir, once for all models, because its start is slow.
STOCK = """
import sys
import numpy as np
import torch
from fairseq.models.roberta import RobertaModel

def answers(folder, eps, tokens):
    roberta = RobertaModel.from_pretrained(folder, "model.pt", bpe=None).eval()
    for module in roberta.modules():
        if isinstance(module, torch.nn.LayerNorm):
            assert module.eps == 1e-5
            module.eps = float(eps)

    yield "features", roberta.extract_features(tokens)
    yield "logits", roberta.predict("sentence_classification_head", tokens, return_logits=True)
    yield "words", roberta.model(tokens)[0]
    # fairseq's fast path transposes the inner states of some layers and not of others.
    for layer in roberta.model.encoder.sentence_encoder.layers:
        layer.can_use_fastpath = False
    for number, state in enumerate(roberta.extract_features(tokens, return_all_hiddens=True)):
        yield f"state{number}", state

for given in sys.argv[1:]:
    folder, eps, kind = given.split(":")
    tokens = torch.from_numpy(np.load(f"{kind}.npy"))
    with torch.no_grad():
        np.savez(f"{folder}/{eps}.npz", **dict(answers(folder, eps, tokens)))
assert not [name for name in sys.modules if name.startswith("fairseq_kd")]
"""

# Name -> changes of the shape, classes, whether there are pairs, more flags.
MODELS = {
    "roberta": ({}, 2, True, []),
    "relu": ({"activation": "relu", "pooler_activation": "relu"}, 1, True, []),
    "segments": ({"segments": 2, "pair_format": "bert"}, 3, False, []),
    "eps": ({"layernorm_eps": 1e-12, "pair_format": "bert"}, 2, True, ["--approximate"]),
    "lm_head": ({}, 2, True, []),
    "pre_layernorm": ({"pre_layernorm": True, "bare_embeddings": True}, 2, True, []),
}


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Path:
    """Return a folder with each of MODELS as NAME.pt, its export NAME/, and the outputs of stock fairseq."""
    folder = tmp_path_factory.mktemp("exported")
    for name, (changes, classes, pairs, flags) in MODELS.items():
        shape, lm_head = replace(SHAPE, **changes), name == "lm_head"
        named = {"class_names": [str(number) for number in range(classes)]}
        model = write_teacher(folder / f"{name}.pt", shape, classes, lm_head=lm_head, config=named)
        data = write_data(folder / f"{name}-bin", pairs=pairs, pair_format=shape.pair_format)
        export(model, folder / name, "--data", data, *flags)
    for pairs in (True, False):
        np.save(folder / f"{pairs}.npy", tokens_of(pairs).numpy())

    asked = [f"{name}:1e-5:{pairs}" for name, (_, _, pairs, _) in MODELS.items()]
    command = [sys.executable, "-c", STOCK, *asked, "eps:1e-12:True"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def tokens_of(pairs: bool) -> torch.Tensor:
    return sentences("roberta", pairs)[0]


def export(checkpoint, out, *flags) -> int:
    return main(["--checkpoint", str(checkpoint), "--out", str(out), *map(str, flags)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "eps", "tolerance"),
    [
        ("roberta", "1e-5", 2e-5),
        ("relu", "1e-5", 2e-5),
        ("pre_layernorm", "1e-5", 2e-5),
        ("segments", "1e-5", 2e-5),
        ("eps", "1e-5", 1e-3),  # the difference that --approximate accepts
        ("eps", "1e-12", 2e-5),  # restored, as the export recommends
    ],
)
def test_stock_fairseq_computes_the_same(exported, name, eps, tolerance):
    tokens = tokens_of(MODELS[name][2])
    found = np.load(exported / name / f"{eps}.npz")
    signals, mask = signals_of(exported / f"{name}.pt", tokens), tokens.ne(1)
    assert 0 < mask.float().mean() < 1  # some padding

    def same(found, expected):
        np.testing.assert_allclose(found, expected, atol=tolerance, rtol=tolerance)

    same(found["logits"], signals.logits)
    if name != "pre_layernorm":  # whose features are normalised states
        same(found["features"][mask], signals.states[SHAPE.layers][mask])
    for number, state in signals.states.items():
        same(found[f"state{number}"][mask], state[mask])


@pytest.mark.slow
def test_a_masked_lm_head_is_converted(exported):
    found = np.load(exported / "lm_head" / "1e-5.npz")
    saved = torch.load(exported / "lm_head.pt", weights_only=True)["model"]
    head = {name.removeprefix("encoder.lm_head."): value for name, value in saved.items()}

    x = torch.from_numpy(found["features"]) @ head["dense.weight"].T + head["dense.bias"]
    x = layer_norm(gelu(x), x.shape[-1:], head["layer_norm.weight"], head["layer_norm.bias"])
    expected = x @ saved["encoder.sentence_encoder.embed_tokens.weight"].T + head["bias"]
    mask = tokens_of(True).ne(1)
    np.testing.assert_allclose(found["words"][mask], expected[mask], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "notes"),
    [
        ("roberta", ["masked-LM head a placeholder"]),
        ("lm_head", []),
        ("segments", ["segments ", "masked-LM head a placeholder"]),
        ("eps", ["every LayerNorm is restored after loading", "masked-LM head", "no_separator=True"]),
    ],
)
def test_differences_are_reported(tmp_path, capsys, name, notes):
    changes, classes, pairs, flags = MODELS[name]
    lm_head, shape = name == "lm_head", replace(SHAPE, **changes)
    model = write_teacher(tmp_path / "model.pt", shape, classes, lm_head=lm_head)
    data = write_data(tmp_path / "TINY-bin", pairs=pairs)
    assert export(model, tmp_path / "out", "--data", data, *flags) == 0

    first, *lines = capsys.readouterr().out.splitlines()
    assert first == f"{tmp_path / 'out' / 'model.pt'}: 4 layers, width 16, 4 heads, ffn 32"
    assert len(lines) == len(notes)
    assert all(part in line for part, line in zip(notes, lines, strict=True))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["dict.txt", "model.pt"]


def test_this_package_reads_it_again_with_the_dictionary_next_to_the_checkpoint(tmp_path, data):
    model = write_teacher(tmp_path / "teacher" / "model.pt", config={"fine_tuned_on": "RTE"})
    (tmp_path / "teacher" / "dict.txt").write_bytes((data / "input0" / "dict.txt").read_bytes())
    assert export(model.parent, tmp_path / "out") == 0
    assert (tmp_path / "out" / "dict.txt").read_bytes() == (data / "input0" / "dict.txt").read_bytes()

    again = read_checkpoint(str(tmp_path / "out"), "--teacher")
    assert again.shape == SHAPE
    assert again.config["fine_tuned_on"] == "RTE"
    tokens = tokens_of(True)
    assert torch.equal(signals_of(tmp_path / "out", tokens).logits, signals_of(model, tokens).logits)


def test_models_vocabularies_and_folders_that_do_not_fit_are_refused(tmp_path, data):
    model = write_teacher(tmp_path / "model.pt")
    with pytest.raises(CannotStart, match="has no dict.txt next to it: give --data"):
        export(model, tmp_path / "out")
    (tmp_path / "dict.txt").write_text("one 1\ntwo 1\n")
    with pytest.raises(CannotStart, match="dict.txt and --checkpoint .* have different vocabularies"):
        export(model, tmp_path / "out")
    (tmp_path / "dict.txt").unlink()
    with pytest.raises(CannotStart, match="exists and is not empty: name a new folder"):
        export(model, tmp_path, "--data", data)
    for changes, message in (
        ({"segments": 2}, "has segment embeddings and its data has pairs"),
        ({"layernorm_eps": 1e-6}, "has a LayerNorm eps of 1e-06"),
    ):
        write_teacher(model, replace(SHAPE, **changes))
        with pytest.raises(CannotStart, match=f"Cannot export: --checkpoint .* {message}"):
            export(model, tmp_path / "out", "--data", data)
