"""Encoder folders from Hugging Face tokenizers: GPT-2's files and fairseq's dict.txt out of vocab.json and merges.txt."""

import json
from pathlib import Path

import pytest

from preprocess.encoders import load_encoder
from preprocess.errors import DataError
from preprocess.huggingface import ByteLevelBPE, byte_symbols, import_encoder, read_byte_level
from preprocess.vocabulary import read_dictionary

TINY = {
    **{
        token: row
        for row, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "ab", "b", "7", "a", "<mask>"])
    },
    "<|endoftext|>": 9,
    "madeupword0000": 10,
    "12": 11,
}


def test_byte_symbols_stand_in_the_order_of_gpt2():
    symbols = byte_symbols()
    assert len(set(symbols)) == 256
    assert [symbols[i] for i in (0, 93, 94, 187, 188, 220, 255)] == ["!", "~", "¡", "ÿ", "Ā", "Ġ", "Ń"]


def test_dictionary_symbols_are_gpt2_ids_in_the_order_of_the_rows():
    bpe = ByteLevelBPE(TINY, ["a b"])
    # "a" is byte symbol 64, "b" 65, "7" 22, "ab" merge 0; "12" is a token that no merge makes.
    assert bpe.symbols() == ["256", "65", "22", "64", "257", "madeupword0000", "\\12"]
    assert bpe.order() == [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 8]


def test_a_vocabulary_without_specials_is_refused():
    with pytest.raises(DataError, match=r"no <pad>, <mask>.*RoBERTa"):
        ByteLevelBPE({"<s>": 0, "</s>": 1, "<unk>": 2}, []).order()


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"neither vocab.json with merges.txt nor"):
        import_encoder("roberta", tmp_path, tmp_path)


@pytest.mark.parametrize("style", ["left right", ["left", "right"]], ids=["old", "new"])
def test_tokenizer_json_says_the_same_as_the_two_files(tmp_path, style):
    merges = ["a b"] if isinstance(style, str) else [["a", "b"]]
    added = [{"content": "<mask>", "id": TINY["<mask>"]}]
    vocabulary = {token: row for token, row in TINY.items() if token != "<mask>"}
    tokenizer = {"model": {"type": "BPE", "vocab": vocabulary, "merges": merges}, "added_tokens": added}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))

    assert read_byte_level(tmp_path) == ByteLevelBPE(TINY, ["a b"])


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"vocab.json": b"[1]", "merges.txt": b""}, r"vocab\.json is JSON but not an object"),
        ({"vocab.json": b'{"a": null}', "merges.txt": b""}, r"vocab\.json holds no vocabulary"),
        ({"vocab.json": b'{"a": 0}', "merges.txt": b"\xff"}, r"merges\.txt is not UTF-8"),
        ({"tokenizer.json": b'{"model": {"type": "BPE", "vocab": {"a": 0}}}'}, r"KeyError: 'merges'"),
        (
            {"tokenizer.json": b'{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [1]}}'},
            r"tokenizer\.json .*TypeError",
        ),
    ],
)
def test_damaged_files_are_one_sentence(tmp_path, files, said):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{said}.*: take a fresh copy"):
        read_byte_level(tmp_path)


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

    assert import_encoder("roberta", source, out) == list(range(50265))
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

    assert import_encoder("bert", source, out) == [3, 0, 4, 2, 1, 6, 5]
    assert read_dictionary(out / "dict.txt") == ["x", "y"]
    assert load_encoder(out).encode(["Y x z"]) == [[5, 4, 3]]
    assert sorted(path.name for path in out.iterdir()) == ["dict.txt", "tokenizer_config.json", "vocab.txt"]


def test_a_bert_vocabulary_of_unknown_casing_is_refused_before_anything_is_written(tmp_path):
    source, out = tmp_path / "hf", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    (source / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nx\n")
    with pytest.raises(DataError, match="does not say whether its vocabulary is cased"):
        import_encoder("bert", source, out)
    assert list(out.iterdir()) == []
