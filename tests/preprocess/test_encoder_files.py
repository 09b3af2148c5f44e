"""A damaged file of an encoder is named."""

import json

import pytest

from preprocess.errors import DataError
from preprocess.tokenizer_files import read_tokenizer
from tests.preprocess.test_tokenizer_files import TINY

WORDS = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nx\n"
BPE = json.dumps(TINY)
MODEL = {"type": "BPE", "vocab": TINY, "merges": []}
NEW = json.dumps({"added_tokens": [], "model": MODEL, "normalizer": {"type": "New"}})


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"vocab.json": "[1]", "merges.txt": ""}, r"vocab\.json is JSON but not an object"),
        ({"vocab.json": '{"a": null}', "merges.txt": ""}, r"vocab\.json has no vocabulary"),
        ({"vocab.json": '{"a": 0}', "merges.txt": "\xff"}, r"merges\.txt is not UTF-8"),
        ({"vocab.json": BPE, "merges.txt": "x y"}, "merges that do not match"),
        ({"tokenizer.json": '{"model": {"type": "BPE", "vocab": {"a": 0}}}'}, r"tokenizer\.json has no merges"),
        ({"tokenizer.json": NEW}, r"tokenizer\.json cannot be read by the library tokenizers"),
        ({"tokenizer.json": '{"model": {"type": "Unigram", "vocab": [["a"]]}}'}, r"tokenizer\.json has pieces or"),
        ({"vocab.txt": "a\n\xff\n"}, r"vocab\.txt is not UTF-8 \(byte 2\)"),
        ({"tokenizer.json": "{bad", "vocab.txt": WORDS}, "is not valid JSON"),
        ({"tokenizer.json": '{"model": []}', "vocab.txt": WORDS}, 'has a "model" that is not an object'),
        ({"tokenizer.json": '{"model": {"type": "WordPiece", "vocab": {"a": "0"}}}', "vocab.txt": WORDS}, "has no vocab"),
        ({"tokenizer.json": '{"model": {"type": "WordPiece", "vocab": {"a": 0, "b": 0}}}', "vocab.txt": WORDS}, "same id"),
        ({"tokenizer_config.json": '{"do_lower_case": "no"}', "vocab.txt": WORDS},
         "sets do_lower_case to 'no', not true or false"),
        ({"added_tokens.json": '{"a": "7"}', "vocab.txt": WORDS}, r"added_tokens\.json has no vocabulary"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_an_error(tmp_path, files, message):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=rf"{message}.*: get a new copy"):
        read_tokenizer(tmp_path, "bert" if "vocab.txt" in files else None)
