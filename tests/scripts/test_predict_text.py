"""`scripts/predict.py --text`: the same predictions as from binarized data, as TSV and as JSON lines."""

import csv
import io
import json
import random
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from fairseq_kd.errors import CannotStart
from fairseq_kd.evaluation.predictions import Predictions
from fairseq_kd.models.shape import ModelShape
from preprocess import custom
from preprocess.encoders import load_encoder
from preprocess.vocabulary import symbols_hash
from scripts.predict import main
from tests.convert.conftest import write_bert_tokenizer
from tests.tiny import write_teacher

pytestmark = pytest.mark.slow

SHAPE = ModelShape(layers=2, width=16, ffn=32, heads=4, max_positions=24, segments=2, pair_format="bert")
TOPICS = ["World", "Sports", "Sci/Tech"]
WORDS = ["the", "a", "cat", "dog", "sat", "ran", "big", "mat", "."]


def write_model(folder: Path, encoder: Path, classes: int, task: str) -> Path:
    """Write a checkpoint with random weights and this vocabulary; return its path."""
    symbols = load_encoder(encoder).symbols
    config = {"fine_tuned_on": task, "dictionary_hash": symbols_hash(symbols)}
    config["class_names"] = TOPICS[:classes] if classes > 1 else []
    return write_teacher(folder / "checkpoint_best.pt", SHAPE, classes, config=config, symbols=symbols)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    write_bert_tokenizer(folder)
    return folder


def texts(pairs: bool, number: int = 37) -> list[list[str]]:
    """Return texts of one to 20 words, too long for 24 positions in pairs."""
    rng = random.Random(5)
    return [
        [" ".join(rng.choices(WORDS, k=rng.randint(1, 20))) for _ in range(1 + pairs)] for _ in range(number)
    ]


def binarized(folder: Path, encoder: Path, rows: list[list[str]], regression: bool) -> Path:
    columns = ["first", "second"][: len(rows[0])]
    for split in ("train", "valid"):
        with (folder / f"{split}.csv").open("w", newline="") as file:
            labels = [str(n % 4) if regression else TOPICS[n % 3] for n in range(len(rows))]
            csv.writer(file).writerow([*columns, "label"])
            csv.writer(file).writerows([*row, label] for row, label in zip(rows, labels, strict=True))
    files = ["--train-file", folder / "train.csv", "--dev-file", folder / "valid.csv", "--max-positions", 24]
    kind = ["--regression"] if regression else ["--labels", *TOPICS]
    given = ["--name", "own", "--text", *columns, "--label", "label", *kind, *files, "--encoder-dir", encoder]
    assert custom.main([*map(str, given), "--out", str(folder)]) == 0
    return folder / "own-bin"


def predict(*arguments) -> int:
    return main([*map(str, arguments), "--cpu"])


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("regression", [False, True])
def test_text_has_the_predictions_of_the_same_data(encoder, tmp_path, capsys, monkeypatch, pairs, regression):
    rows = texts(pairs)
    data = binarized(tmp_path, encoder, rows, regression)
    model = write_model(tmp_path / "run", encoder, 1 if regression else 3, "own")
    assert predict("--checkpoint", model, "--data", data) == 0
    logits = Predictions.read(model.parent / "predictions/valid.npz").logits

    lines = "".join("\t".join(row) + "\r\n" for row in rows).encode()
    monkeypatch.setattr(sys, "stdin", Namespace(buffer=io.BytesIO(lines)))
    capsys.readouterr()
    text = ("--checkpoint", model, "--encoder-dir", encoder, "--data", data, "--text")
    assert predict(*text, "-", "--batch-size", "5") == 0
    printed = capsys.readouterr()
    header, *found = [line.split("\t") for line in printed.out.splitlines()]
    columns = ["text1", "text2"] if pairs else ["text"]
    assert header == ["prediction", *([] if regression else TOPICS), *columns]
    assert [row[-1 - pairs :] for row in found] == rows
    if regression:
        np.testing.assert_allclose([float(row[0]) for row in found], 3 * logits[:, 0], rtol=2e-3)
    else:
        expected = torch.from_numpy(logits).softmax(dim=1).numpy()
        np.testing.assert_allclose([[float(each) for each in row[1:4]] for row in found], expected, atol=1e-4)
        assert [row[0] for row in found] == [TOPICS[number] for number in logits.argmax(axis=1)]
    assert ("texts were truncated to 24 tokens" in printed.err) == pairs

    (tmp_path / "text.txt").write_bytes(lines)
    assert predict(*text, tmp_path / "text.txt", "--format", "jsonl", "--out", tmp_path / "out.jsonl") == 0
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(records) == len(rows)
    if regression:
        assert records[0]["prediction"] == float(found[0][0])
    else:
        assert records[0]["probabilities"].keys() == set(TOPICS)
        assert [record["prediction"] for record in records] == [row[0] for row in found]
    assert records[0]["text1" if pairs else "text"] == rows[0][0]


def test_the_limit_of_the_training_data_is_named_for_truncated_text(encoder, tmp_path, capsys):
    data = binarized(tmp_path, encoder, texts(pairs=False), False)
    meta = json.loads((data / "meta.json").read_text())
    (data / "meta.json").write_text(json.dumps(meta | {"max_positions": 6}))
    model = write_model(tmp_path / "run", encoder, 3, "own")
    (tmp_path / "text.txt").write_text("the cat sat\nthe big dog ran . the cat sat .\n")
    text = ("--encoder-dir", encoder, "--data", data, "--text", tmp_path / "text.txt")
    assert predict("--checkpoint", model, *text) == 0
    assert "1 of 2 texts were truncated to 6 tokens" in capsys.readouterr().err


def test_a_checkpoint_keeps_the_scale_of_its_numbers(encoder, tmp_path, capsys):
    model = write_model(tmp_path / "run", encoder, 1, "own")
    (tmp_path / "text.txt").write_text("the cat\n")
    text = ("--checkpoint", model, "--encoder-dir", encoder, "--text", tmp_path / "text.txt")
    predict(*text)
    plain = float(capsys.readouterr().out.splitlines()[1].split("\t")[0])
    state = torch.load(model, weights_only=True)
    state["cfg"]["model"]["score_scale"] = 8.0
    torch.save(state, model)
    predict(*text)
    assert float(capsys.readouterr().out.splitlines()[1].split("\t")[0]) == pytest.approx(8 * plain, rel=2e-3)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "--text .* is empty"),
        (b"the cat\nthe\tdog\n", "line 2 has 2 tab-separated texts, but each line needs a sentence"),
        (b"a\tb\tc\n", "line 1 has 3 tab-separated texts"),
        (b"the cat\n\xff\xfe\n", "line 2 is not UTF-8"),
    ],
)
def test_invalid_text_names_its_line_and_leaves_no_file(encoder, tmp_path, content, match):
    model = write_model(tmp_path / "run", encoder, 3, "own")
    (tmp_path / "text.txt").write_bytes(content)
    out = tmp_path / "out.tsv"
    given = ("--checkpoint", model, "--encoder-dir", encoder, "--text", tmp_path / "text.txt")
    with pytest.raises(CannotStart, match=match):
        predict(*given, "--out", out)
    assert not out.exists()


def test_a_tokenizer_of_another_model_is_refused(encoder, tmp_path):
    model = write_model(tmp_path / "run", encoder, 3, "own")
    other = tmp_path / "other"
    other.mkdir()
    (other / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\n")
    with pytest.raises(CannotStart):
        predict("--checkpoint", model, "--encoder-dir", other, "--text", "-")
    with pytest.raises(CannotStart, match="no vocabulary next to it: give --encoder-dir"):
        predict("--checkpoint", model, "--text", "-")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("", "--data is missing"),
        ("--text a --split b", "not allowed with argument --text"),
        ("--text a --submission b", "not allowed with argument --text"),
        ("--split a --submission b", "not allowed with argument --split"),
    ],
)
def test_conflicting_flags_are_refused_before_the_import(flags, message, capsys):
    with pytest.raises(SystemExit):
        predict("--checkpoint", "nowhere", *flags.split())
    assert message in capsys.readouterr().err
