"""A class and the files of its vocabulary make the tokenizer that transformers makes of them."""

import json

import pytest
from tokenizers import normalizers, pre_tokenizers

from preprocess.encoders import load_encoder
from preprocess.errors import DataError
from preprocess.tokenizer_files import read_tokenizer
from preprocess.vocabulary import byte_symbols
from tests.preprocess.conftest import SENTENCES
from tests.preprocess.hugging_face_folders import (
    BYTES,
    DIGITS,
    GENERIC,
    NAMES,
    TEXTS,
    assert_same_ids,
    imported,
    trained_sentencepiece,
    write_folder,
)


@pytest.mark.parametrize(
    ("kind", "class_name", "options", "message"),
    [
        ("roberta", "RobertaTokenizer", {**BYTES, "normalizer": normalizers.NFC()},
         'has the normalizer {"type": "NFC"}, but RobertaTokenizer has null'),
        ("roberta", "RobertaTokenizer", {"pre_tokenizer": DIGITS}, "has the pre_tokenizer"),
        ("xlm-roberta", "XLMRobertaTokenizer", {"pre_tokenizer": pre_tokenizers.Metaspace()}, "has the pre_tokenizer"),
    ],
)  # fmt: skip
def test_a_class_and_a_tokenizer_json_that_differ_are_refused(tmp_path, kind, class_name, options, message):
    source = write_folder(tmp_path / "source", kind, class_name, **options)
    with pytest.raises(DataError) as error:
        imported(kind, source, tmp_path / "out")
    assert message in str(error.value)

    # The remedy in the message works.
    config = json.loads((source / "tokenizer_config.json").read_text())
    (source / "tokenizer_config.json").write_text(json.dumps({**config, "tokenizer_class": GENERIC}))
    assert_same_ids(source, *imported(kind, source, tmp_path / "followed"))


def test_other_names_of_special_tokens(tmp_path):
    """A BERT with the special tokens of RoBERTa, for which those of BERT are ordinary text."""
    source = write_folder(tmp_path / "source", "bert", "BertTokenizer", complete=False)
    text = (source / "vocab.txt").read_text()
    for role, name in NAMES["bert"].items():
        text = text.replace(name, NAMES["roberta"][role])
    (source / "vocab.txt").write_text(text)
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, **NAMES["roberta"]}
    (source / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer, encoder = imported("bert", source, tmp_path / "out")
    assert_same_ids(source, tokenizer, encoder)
    assert encoder.encode(["ferry"]) == load_encoder(source).encode(["ferry"])


def test_rows_of_xlm_roberta_are_those_of_sentencepiece_shifted_by_one(tmp_path):
    from sentencepiece import SentencePieceProcessor

    source = write_folder(tmp_path / "source", "xlm-roberta", None)
    processor = SentencePieceProcessor(model_proto=trained_sentencepiece())
    tokenizer, encoder = imported("xlm-roberta", source, tmp_path / "out")
    pieces = [processor.id_to_piece(number) for number in range(3, processor.get_piece_size())]
    assert encoder.symbols == pieces
    assert tokenizer.order() == list(range(len(pieces) + 5))
    # Ordinary text has the pieces of the C++ library, also text that spells special tokens.
    texts = [*SENTENCES, "a <mask>b<s>"]
    expected = [[i + 1 if i else 3 for i in row] for row in processor.encode(texts)]
    assert encoder.encode(texts) == expected


@pytest.mark.parametrize("names", ["cased", "uncased"])
def test_a_vocabulary_without_capitals_and_other_files_is_uncased(tmp_path, names):
    """As in TinyBERT's folders; transformers lower-cases by default. With capitals, the folder is refused."""
    entries = [*NAMES["bert"].values(), "[unused0]", *"abcrℝ", "car", *(["C"] if names == "cased" else [])]
    (tmp_path / "vocab.txt").write_text("\n".join(entries))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    if names == "cased":
        with pytest.raises(DataError, match="no file states whether .* is cased: set do_lower_case"):
            read_tokenizer(tmp_path)
        return
    encoder = load_encoder(tmp_path)
    assert encoder.lowercase
    assert_same_ids(tmp_path, read_tokenizer(tmp_path), encoder, ["CAR car CÀr", *TEXTS])


def test_byte_symbols_have_the_order_of_gpt2():
    symbols = byte_symbols()
    assert len(set(symbols)) == 256
    assert [symbols[i] for i in (0, 93, 94, 187, 188, 220, 255)] == ["!", "~", "¡", "ÿ", "Ā", "Ġ", "Ń"]


def test_the_vocabulary_is_split_at_line_feeds_only(tmp_path):
    (tmp_path / "vocab.txt").write_bytes("[PAD]\r\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n\u2028\nb\n</s>\n".encode())
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    assert read_tokenizer(tmp_path, "bert").symbols() == ["\u2028", "b", "\\</s>"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"vocab.json": '{"<s>": 0, "</s>": 1, "<unk>": 2}', "merges.txt": ""}, "no <pad>, <mask>"),
        ({"vocab.txt": "[PAD]\n[UNK]\n[CLS]\n[SEP]\na"}, r"no \[MASK\]"),
        ({"vocab.txt": "[PAD]\na\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na"}, "'a' more than once"),
    ],
)
def test_a_vocabulary_that_cannot_be_numbered_is_refused(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_tokenizer(tmp_path, "bert" if "vocab.txt" in files else None)
