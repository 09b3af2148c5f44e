import hashlib
import json

import pytest

from fairseq_kd.data.metadata import corpus_pair_format, dictionary_hash, read_metadata
from fairseq_kd.errors import CannotStart
from preprocess.corpus.__main__ import main as make_corpus
from preprocess.vocabulary import read_dictionary, symbols_hash
from tests.tiny import write_data


def test_metadata_is_read(tmp_path):
    meta = read_metadata(write_data(tmp_path / "data"))
    assert (meta.num_classes, meta.regression, meta.pairs, meta.pair_format) == (2, False, True, "roberta")
    assert meta.sentences == {"train": 64, "valid": 40}


def test_missing_metadata_is_none_and_invalid_metadata_an_error(tmp_path):
    assert read_metadata(tmp_path) is None
    (tmp_path / "meta.json").write_text(json.dumps({"task": "x"}))
    with pytest.raises(CannotStart, match=r"meta\.json is invalid \(KeyError: 'num_classes'\)"):
        read_metadata(tmp_path)


def test_a_corpus_has_the_pair_format_of_its_encoder(tmp_path):
    assert corpus_pair_format(tmp_path) == "roberta"
    (tmp_path / "meta.json").write_text(json.dumps({"encoder": {"name": "wordpiece", "pair_format": "bert"}}))
    assert corpus_pair_format(tmp_path) == "bert"
    (tmp_path / "meta.json").write_text("{}")
    with pytest.raises(CannotStart, match=r"meta\.json is invalid \(KeyError: 'encoder'\)"):
        corpus_pair_format(tmp_path)


def test_the_metadata_of_a_wordpiece_corpus_is_read(tmp_path):
    words = "the ferry leaves harbour nobody said bread was stale".split()
    (tmp_path / "bert").mkdir()
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, "."]
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(entries) + "\n")
    documents = (" ".join(words[number % 8 :] + words[number // 8 :]) + "." for number in range(64))
    (tmp_path / "text").write_text("\n\n".join(documents))
    flags = [
        "--encoder-dir",
        f"{tmp_path}/bert",
        "--input",
        f"{tmp_path}/text=text",
        "--out",
        f"{tmp_path}/corpus",
    ]
    assert make_corpus([*flags, "--longest", "20", "--valid-share", "0.2", "--workers", "1"]) == 0
    assert corpus_pair_format(tmp_path / "corpus") == "bert"


@pytest.mark.parametrize(
    "text",
    ["a 3\nb c 2\n\x85 1\n", "a 1\na 2 #fairseq:overwrite\nb 1\n", "a 1\r\nb 1\rc 1 \n"],
    ids=["spaces in symbols", "flags", "line ends of other systems"],
)
def test_the_hash_is_that_of_preprocessing(tmp_path, text):
    path = tmp_path / "dict.txt"
    path.write_bytes(text.encode())
    assert dictionary_hash(path) == symbols_hash(read_dictionary(path))


def test_the_hash_is_over_symbols_in_order_not_counts(tmp_path):
    path = tmp_path / "dict.txt"
    hashes = []
    for text in ("a 1\nb 1\n", "a 9\nb 3\n", "b 1\na 1\n"):
        path.write_text(text)
        hashes.append(dictionary_hash(path))
    assert hashes[0] == hashes[1] == hashlib.sha256(b"a\nb").hexdigest()
    assert hashes[2] != hashes[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a 1\nb\n", "Incorrect dictionary format"), (b"\xff 1\n", "Incorrect encoding")],
)
def test_a_dictionary_that_fairseq_cannot_read_is_an_error(tmp_path, content, message):
    (tmp_path / "dict.txt").write_bytes(content)
    with pytest.raises(CannotStart, match=rf"dict\.txt is not a fairseq dictionary \({message}"):
        dictionary_hash(tmp_path / "dict.txt")
