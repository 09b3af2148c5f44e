"""Pieces are encoded sentence by sentence, and a document goes where its text decides."""

import json

import pytest

from preprocess.encoders import load_encoder
from tests.preprocess.corpus.conftest import read_rows

pytestmark = pytest.mark.usefixtures("small_pieces")


def test_lines_are_sentences_that_keep_their_space(make, tmp_path, gpt2_folder):
    (tmp_path / "in.txt").write_text("The ferry leaves. Nobody said so.\nA kite.\n\nIt is noon.\n")
    assert make("--input", f"{tmp_path}/in.txt=text", "--valid-share", "0", encoder=gpt2_folder) == 0

    encoder = load_encoder(gpt2_folder)
    texts = ["The ferry leaves.", " Nobody said so.", "A kite.", "", "It is noon.", ""]
    expected = [[*ids, 2] for ids in encoder.encode(texts)]
    assert read_rows(tmp_path / "data/train") == expected
    # Sentence by sentence or at once, the tokens are the same.
    whole = encoder.encode(["The ferry leaves. Nobody said so."])[0]
    assert whole == [i for row in expected[:2] for i in row[:-1]]


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("gpt2_folder", {"The": 0, "Ġ": 1, "he": 0}),
        ("wordpiece_folder", {"the": 1, "##a": 0, ",": 1}),
        ("sentencepiece_folder", {"▁": 1, "e": 0}),
    ],
)
def test_word_starts(request, folder, expected, make, wiki, tmp_path):
    folder = request.getfixturevalue(folder)
    assert make("--input", wiki, encoder=folder) == 0
    marks = (tmp_path / "data/word_starts.txt").read_text().split()
    symbols = [line.rpartition(" ")[0] for line in (tmp_path / "data/dict.txt").read_text().splitlines()]
    if (folder / "encoder.json").exists():
        names = {str(i): piece for piece, i in json.loads((folder / "encoder.json").read_text()).items()}
        symbols = [names[symbol] for symbol in symbols]
    found = {symbol: int(mark) for symbol, mark in zip(symbols, marks, strict=True)}
    assert {symbol: found[symbol] for symbol in expected if symbol in found} == {
        symbol: mark for symbol, mark in expected.items() if symbol in found
    }
    assert {0, 1} == set(found.values())


def test_long_sentences_are_cut_at_words(make, tmp_path, wordpiece_folder):
    (tmp_path / "in.txt").write_text("the bread " * 30 + "\n")
    assert make("--input", f"{tmp_path}/in.txt=text", "--valid-share", "0", "--longest", "16") == 0
    rows = read_rows(tmp_path / "data/train")
    encoder = load_encoder(wordpiece_folder)
    assert [i for row in rows for i in row[:-1]] == encoder.encode(["the bread " * 30])[0]
    assert all(len(row) <= 16 and row[-1] == 2 for row in rows)
    starts = {i for i, begins in enumerate(encoder.word_starts(), start=4) if begins}
    assert all(row[0] in starts for row in rows[:-1])
    assert json.loads((tmp_path / "data/meta.json").read_text())["splits"]["train"]["cut"] == 1


def documents_of(rows: list[list[int]]) -> list[tuple]:
    """Return the rows between rows with only an end of sentence, as fairseq's complete_doc divides them."""
    found, document = [], []
    for row in rows:
        if row == [2]:
            found.append(tuple(map(tuple, document)))
            document = []
        else:
            document.append(row)
    assert document == []
    return found


@pytest.mark.slow
def test_the_text_determines_the_split_and_shard(make, wiki, tmp_path):
    """They depend neither on the order of files nor on other documents."""
    flags = ["--shards", "2", "--valid-share", "0.2", "--test-share", "0.2"]
    assert make("--input", wiki, *flags) == 0
    files = sorted((wiki / "AA").iterdir())
    backwards = [argument for file in reversed(files) for argument in ("--input", file)]
    assert make(*backwards, *flags, out="backwards") == 0
    assert make("--input", files[2], *flags, out="fewer") == 0
    assert make("--input", wiki, *flags, "--seed", "2", out="other") == 0

    everything = []
    for split in ("shard0/train", "shard1/train", "shard0/valid", "shard0/test"):
        folders = [tmp_path / out / split for out in ("data", "backwards", "fewer", "other")]
        here, there, fewer, other = map(documents_of, map(read_rows, folders))
        assert sorted(here) == sorted(there)
        assert here != there
        assert {*fewer} <= {*here}
        assert {*other} != {*here}
        everything += here
    assert len(everything) == 120
