"""`preprocess.augment`: words are replaced by the masked model's own predictions, at the stated rate."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import MMapIndexedDataset

from preprocess import augment, custom
from preprocess.encoders import load_encoder
from preprocess.vocabulary import symbols_hash
from tests.convert.conftest import write_bert_tokenizer
from tests.tiny import SHAPE, dictionary_of, write_teacher

pytestmark = pytest.mark.slow

WORDS = "the a cat dog sat ran big mat cats bigly".split()  # the last two have two pieces


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Write data of pairs, and a masked model whose most likely words are always `cat`, `dog` and `mat`."""
    folder = tmp_path_factory.mktemp("augment")
    (folder / "model").mkdir()
    write_bert_tokenizer(folder / "model")
    random = np.random.default_rng(1)
    lines = ["first,second,label"]
    for number in range(60):
        texts = [" ".join(random.choice(WORDS, random.integers(1, 9))) for _ in range(2)]
        lines.append(f"{texts[0]},{texts[1]},{'xyz'[number % 3]}")
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    table, given = folder / "t.csv", ["--name", "own", "--text", "first", "second", "--label", "label"]
    given += ["--train-file", table, "--dev-file", table, "--encoder-dir", folder / "model", "--out", folder]
    assert custom.main([str(word) for word in given]) == 0

    symbols = load_encoder(folder / "model").symbols
    shape = replace(SHAPE, segments=2, pair_format="bert")
    hashed = {"dictionary_hash": symbols_hash(symbols)}
    model = folder / "model" / "model.pt"
    write_teacher(model, shape, classes=None, lm_head=True, config=hashed, symbols=symbols)
    saved, dictionary = torch.load(model, weights_only=True), dictionary_of(symbols)
    bias = saved["model"]["encoder.lm_head.bias"]
    for place, word in enumerate(["cat", "dog", "mat"]):
        bias[dictionary.index(word)] = 100 - place
    bias[dictionary.index("##s")] = 1000  # not the beginning of a word: never taken
    torch.save(saved, model)
    return folder


def run(folder: Path, *flags: str) -> int:
    given = ["--data", folder / "own-bin", "--model", folder / "model", "--cpu", "--top", "3", "--overwrite"]
    return augment.main([str(each) for each in (*given, *flags)])


def texts(folder: Path, split: str, column: int) -> list[list[str]]:
    dictionary = Dictionary.load(str(folder / "own-bin" / f"input{column}" / "dict.txt"))
    rows = MMapIndexedDataset(str(folder / "own-bin" / f"input{column}" / split))
    return [" ".join(dictionary[int(token)] for token in row[:-1]).replace(" ##", "").split() for row in rows]


def test_whole_words_become_likely_words_at_the_stated_rate(folder):
    assert run(folder, "--copies", "20", "--rate", "0.3") == 0
    meta = json.loads((folder / "own-bin/meta.json").read_text())["splits"]["augmented"]
    assert meta["labelled"] is False
    model = hashlib.sha256((folder / "model/model.pt").read_bytes()).hexdigest()
    assert meta["augmented"] == {"copies": 20, "rate": 0.3, "top": 3, "seed": 1, "model": model}

    train = [texts(folder, "train", column) for column in (0, 1)]
    new = [texts(folder, "augmented", column) for column in (0, 1)]
    assert len(new[0]) == len(new[1]) == meta["sentences"] <= 1200
    originals = {}
    for row, pair in enumerate(zip(*train, strict=True)):
        originals.setdefault(tuple(map(len, pair)), []).append(row)

    changed = total = 0
    for pair in zip(*new, strict=True):
        candidates = originals[tuple(map(len, pair))]
        differences = []
        for row in candidates:
            old, words = train[0][row] + train[1][row], pair[0] + pair[1]
            differences.append([word for word, before in zip(words, old, strict=True) if word != before])
        possible = [len(words) for words in differences if set(words) <= {"cat", "dog", "mat"}]
        assert possible, pair  # it comes from one of the rows, with likely words only
        changed += min(possible)
        total += sum(map(len, pair))
    # A replaced word may stay by chance: of ten words, three are among the three likely ones.
    assert 0.2 < changed / total < 0.32


def test_the_seed_decides_the_text_and_batches_do_not(folder):
    assert run(folder, "--copies", "2") == 0
    first = [texts(folder, "augmented", column) for column in (0, 1)]
    assert run(folder, "--copies", "2", "--batch-size", "7") == 0
    assert [texts(folder, "augmented", column) for column in (0, 1)] == first
    assert run(folder, "--copies", "2", "--seed", "2", "--split", "other") == 0
    assert [texts(folder, "other", column) for column in (0, 1)] != first
    assert not list((folder / "own-bin").rglob("*.part.*"))


def test_a_model_without_masked_lm_head_is_refused(folder, tmp_path, capsys):
    state = torch.load(folder / "model/model.pt", weights_only=True)
    state["model"] = {name: value for name, value in state["model"].items() if "lm_head" not in name}
    torch.save(state, tmp_path / "model.pt")
    flags = ("--model", str(tmp_path / "model.pt"), "--encoder-dir", str(folder / "model"))
    assert run(folder, *flags) == 1
    error = capsys.readouterr().err
    assert f"--model {tmp_path / 'model.pt'} has no masked-LM head" in error
    assert "vocabulary" in error


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        (["--rate", "0"], "--rate 0.0 is out of range"),
        (["--split", "valid1"], "--split valid1 is not a name of its own"),
        (["--model", "nowhere"], "--model"),
        (["--top", "1000"], "--top 1000 is out of range"),
    ],
)
def test_an_error_is_one_line(folder, capsys, flags, found):
    assert run(folder, *flags) == 1
    said = capsys.readouterr().err.strip()
    assert found in said
    assert "\n" not in said


def test_a_folder_that_changes_meanwhile_keeps_its_own_description(folder, capsys, monkeypatch):
    path = folder / "own-bin/meta.json"
    before, replace = path.read_text(), augment._replace

    def and_another_split(*arguments) -> None:
        meta = json.loads(path.read_text())
        meta["splits"]["another"] = {"sentences": 1}
        path.write_text(json.dumps(meta | changes))
        replace(*arguments)

    monkeypatch.setattr(augment, "_replace", and_another_split)
    changes = {}
    assert run(folder, "--copies", "1") == 0
    assert {"another", "augmented", "train"} <= json.loads(path.read_text())["splits"].keys()

    path.write_text(before)
    changes = {"made_from": "other files", "labels": ["z", "y", "x"]}
    assert run(folder, "--copies", "1") == 1
    assert "was made again while this command ran" in capsys.readouterr().err
    assert json.loads(path.read_text())["labels"] == ["z", "y", "x"]
    path.write_text(before)
