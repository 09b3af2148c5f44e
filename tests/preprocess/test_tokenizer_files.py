"""All files of a tokenizer are read, those of older versions too; settings that contradict each other are refused."""

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from preprocess.errors import DataError
from preprocess.tokenizer_files import read_tokenizer
from tests.preprocess.hugging_face_folders import (
    BYTES,
    GENERIC,
    PREFIXED,
    assert_same_ids,
    files,
    imported,
    write_folder,
)

TOKENS = "<s> <pad> </s> <unk> ab b 7 a <mask> <|endoftext|> madeupword0000 12".split()
TINY = {token: row for row, token in enumerate(TOKENS)}


def write_plain(folder: Path) -> None:
    (folder / "vocab.json").write_text(json.dumps(TINY))
    (folder / "merges.txt").write_text("#version: 0.2\na b\n")


def test_dictionary_symbols_are_gpt2_ids_in_the_order_of_the_rows(tmp_path):
    write_plain(tmp_path)
    tokenizer = read_tokenizer(tmp_path)
    # "a" is byte symbol 64, "b" 65, "7" 22, "ab" merge 0; "12" is a token that no merge makes.
    assert tokenizer.symbols() == ["256", "65", "22", "64", "257", "madeupword0000", "\\12"]
    assert tokenizer.order() == [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 8]
    assert tokenizer.is_gpt2()


def test_added_tokens_have_the_order_of_their_rows(tmp_path):
    write_plain(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"extra_special_tokens": ["[E1]", "34"]}')
    tokenizer = read_tokenizer(tmp_path)
    assert tokenizer.symbols()[-3:] == ["\\12", "[E1]", "\\34"]
    assert tokenizer.order()[-3:] == [12, 13, 8]
    assert not tokenizer.is_gpt2()


@pytest.mark.parametrize("merges", [["a b"], [["a", "b"]]], ids=["old", "new"])
def test_tokenizer_json_equals_the_two_files(tmp_path, merges):
    tokenizer = Tokenizer(models.BPE(TINY, [("a", "b")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    full = json.loads(tokenizer.to_str())
    full["model"]["merges"] = merges
    for name in ("full", "plain"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "tokenizer.json").write_text(json.dumps(full))
    write_plain(tmp_path / "plain")

    full, plain = (read_tokenizer(tmp_path / name) for name in ("full", "plain"))
    assert (full.rows, full.merges, full.symbols()) == (plain.rows, plain.merges, plain.symbols())
    assert full.is_gpt2()


def test_legacy_files_of_added_tokens(tmp_path):
    source = write_folder(tmp_path / "source", "bert", None, **files(do_lower_case=True))
    (source / "added_tokens.json").write_text("{}")  # some folders hold an empty one
    rows = read_tokenizer(source, "bert").rows
    (source / "added_tokens.json").write_text(json.dumps({"[E1]": len(rows), "ferryman": len(rows) + 1}))
    (source / "special_tokens_map.json").write_text(json.dumps({"additional_special_tokens": ["[E1]"]}))
    tokenizer, encoder = imported("bert", source, tmp_path / "out")
    texts = ["the [E1] ferryman", "The [e1] FERRYMAN", "aferrymans[E1]"]
    assert_same_ids(source, tokenizer, encoder, texts)
    assert len(rows) in [tokenizer.order()[i] for i in encoder.encode(texts)[0]]


def test_contradicting_or_random_settings_are_refused(tmp_path):
    options = {**PREFIXED, "config": {"add_prefix_space": False}}
    source = write_folder(tmp_path / "source", "roberta", GENERIC, **options)
    with pytest.raises(DataError, match="sets add_prefix_space to false in tokenizer_config.json and to"):
        read_tokenizer(source)

    source = write_folder(tmp_path / "random", "roberta", "RobertaTokenizer", **BYTES)
    path = source / "tokenizer.json"
    path.write_text(path.read_text().replace('"dropout": null', '"dropout": 0.1'))
    with pytest.raises(DataError, match="sets BPE dropout, which makes ids random"):
        read_tokenizer(source)
