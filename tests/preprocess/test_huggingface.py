"""Encoder folders from Hugging Face tokenizers: GPT-2's files and fairseq's dict.txt out of vocab.json and merges.txt."""

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from preprocess.encoders import load_encoder
from preprocess.errors import DataError
from preprocess.huggingface import import_encoder
from preprocess.tokenizer_files import read_tokenizer
from preprocess.vocabulary import byte_symbols, read_dictionary

TOKENS = "<s> <pad> </s> <unk> ab b 7 a <mask> <|endoftext|> madeupword0000 12".split()
TINY = {token: row for row, token in enumerate(TOKENS)}


def write_plain(folder: Path, rows: dict[str, int], merges: list[str]) -> None:
    (folder / "vocab.json").write_text(json.dumps(rows))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))


def test_byte_symbols_have_the_order_of_gpt2():
    symbols = byte_symbols()
    assert len(set(symbols)) == 256
    assert [symbols[i] for i in (0, 93, 94, 187, 188, 220, 255)] == ["!", "~", "¡", "ÿ", "Ā", "Ġ", "Ń"]


def test_dictionary_symbols_are_gpt2_ids_in_the_order_of_the_rows(tmp_path):
    write_plain(tmp_path, TINY, ["a b"])
    tokenizer = read_tokenizer(tmp_path)
    # "a" is byte symbol 64, "b" 65, "7" 22, "ab" merge 0; "12" is a token that no merge makes.
    assert tokenizer.symbols() == ["256", "65", "22", "64", "257", "madeupword0000", "\\12"]
    assert tokenizer.order() == [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 8]


def test_a_vocabulary_without_specials_is_refused(tmp_path):
    write_plain(tmp_path, {"<s>": 0, "</s>": 1, "<unk>": 2}, [])
    with pytest.raises(DataError, match="no <pad>, <mask>"):
        read_tokenizer(tmp_path)


@pytest.mark.parametrize("style", ["left right", ["left", "right"]], ids=["old", "new"])
def test_tokenizer_json_equals_the_two_files(tmp_path, style):
    tokenizer = Tokenizer(models.BPE(TINY, [("a", "b")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    full = json.loads(tokenizer.to_str())
    full["model"]["merges"] = ["a b"] if isinstance(style, str) else [["a", "b"]]
    for name in ("full", "plain"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "tokenizer.json").write_text(json.dumps(full))
    write_plain(tmp_path / "plain", TINY, ["a b"])

    full, plain = (read_tokenizer(tmp_path / name) for name in ("full", "plain"))
    assert (full.rows, full.merges, full.symbols()) == (plain.rows, plain.merges, plain.symbols())
    assert full.is_gpt2()
    assert plain.is_gpt2()


def test_added_tokens_have_the_order_of_their_rows(tmp_path):
    write_plain(tmp_path, TINY, ["a b"])
    (tmp_path / "tokenizer_config.json").write_text('{"extra_special_tokens": ["[E1]", "34"]}')
    tokenizer = read_tokenizer(tmp_path)
    assert tokenizer.symbols()[-3:] == ["\\12", "[E1]", "\\34"]
    assert tokenizer.order()[-3:] == [12, 13, 8]
    assert not tokenizer.is_gpt2()


FULL = {"added_tokens": [], "model": {"type": "BPE", "vocab": TINY, "merges": []}}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"vocab.json": b"[1]", "merges.txt": b""}, r"vocab\.json is JSON but not an object"),
        ({"vocab.json": b'{"a": null}', "merges.txt": b""}, r"vocab\.json has no vocabulary"),
        ({"vocab.json": b'{"a": 0}', "merges.txt": b"\xff"}, r"merges\.txt is not UTF-8"),
        ({"vocab.json": json.dumps(TINY).encode(), "merges.txt": b"x y"}, "merges that do not match"),
        ({"tokenizer.json": b'{"model": {"type": "BPE", "vocab": {"a": 0}}}'}, r"tokenizer\.json has no merges"),
        (
            {"tokenizer.json": json.dumps({**FULL, "normalizer": {"type": "New"}}).encode()},
            r"tokenizer\.json cannot be read by the library tokenizers",
        ),
        ({"tokenizer.json": b'{"model": {"type": "Unigram", "vocab": [["a"]]}}'}, r"tokenizer\.json has pieces or"),
    ],
)  # fmt: skip
def test_damaged_files_are_an_error(tmp_path, files, message):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{message}.*: get a new copy"):
        read_tokenizer(tmp_path)


@pytest.mark.real_data
def test_robertas_own_vocabulary_comes_out_byte_by_byte(real_data, tmp_path):
    """vocab.json as roberta-base has it, rebuilt from fairseq's files, gives these files back."""
    stock, source, out = real_data / "gpt2_bpe", tmp_path / "hf", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    spelled = {str(i): token for token, i in json.loads((stock / "encoder.json").read_text()).items()}
    symbols = read_dictionary(stock / "dict.txt")
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *(spelled.get(s, s) for s in symbols), "<mask>"]
    (source / "vocab.json").write_text(json.dumps({token: row for row, token in enumerate(tokens)}))
    (source / "merges.txt").write_bytes((stock / "vocab.bpe").read_bytes())

    assert import_encoder("roberta", source, out).order() == list(range(50265))
    assert read_dictionary(out / "dict.txt") == symbols
    for name in ("encoder.json", "vocab.bpe"):
        assert (out / name).read_bytes() == (stock / name).read_bytes()
    assert load_encoder(out).hash == load_encoder(stock).hash


def test_berts_files_are_kept_and_its_rows_reordered(tmp_path):
    source, out = Path(tmp_path / "hf"), Path(tmp_path / "out")
    source.mkdir()
    out.mkdir()
    (source / "vocab.txt").write_text("[PAD]\nx\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ny\n")
    (source / "tokenizer_config.json").write_text('{"do_lower_case": true}')

    assert import_encoder("bert", source, out).order() == [3, 0, 4, 2, 1, 6, 5]
    assert read_dictionary(out / "dict.txt") == ["x", "y"]
    assert load_encoder(out).encode(["Y x z"]) == [[5, 4, 3]]
    assert sorted(path.name for path in out.iterdir()) == ["dict.txt", "tokenizer_config.json", "vocab.txt"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vocab.txt", b"a\n\xff\n", r"is not UTF-8 \(byte 2\)"),
        ("tokenizer.json", b"{bad", "is not valid JSON"),
        ("tokenizer.json", b'{"model": []}', 'has a "model" that is not an object'),
        ("tokenizer.json", b'{"model": {"type": "WordPiece", "vocab": {"a": "0"}}}', "has no vocabulary"),
        ("tokenizer.json", b'{"model": {"type": "WordPiece", "vocab": {"a": 0, "b": 0}}}', "same id"),
        ("tokenizer_config.json", b'{"do_lower_case": "no"}', "sets do_lower_case to 'no', not true or false"),
        ("added_tokens.json", b'{"a": "7"}', "has no vocabulary"),
    ],
)  # fmt: skip
def test_damaged_files_of_bert_are_an_error(tmp_path, name, content, message):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nx\n")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name} .*{message}.*: get a new copy"):
        read_tokenizer(tmp_path, "bert")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"], r"no \[MASK\]"),
        (["[PAD]", "a", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"], "'a' more than once"),
    ],
)
def test_a_vocabulary_that_cannot_be_numbered_is_refused(tmp_path, entries, message):
    (tmp_path / "vocab.txt").write_text("\n".join(entries))
    with pytest.raises(DataError, match=message):
        read_tokenizer(tmp_path, "bert")


def test_the_vocabulary_is_split_at_line_feeds_only(tmp_path):
    (tmp_path / "vocab.txt").write_bytes("[PAD]\r\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n\u2028\nb\n</s>\n".encode())
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    assert read_tokenizer(tmp_path, "bert").symbols() == ["\u2028", "b", "\\</s>"]
