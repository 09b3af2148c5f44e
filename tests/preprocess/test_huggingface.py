"""Tokenizers of Hugging Face folders become encoders with the ids of transformers, or the folder is refused."""

import json
import pickle

import pytest
from tokenizers import normalizers, pre_tokenizers

from preprocess.encoders import load_encoder
from preprocess.errors import DataError
from preprocess.export_tokenizer import export_tokenizer
from preprocess.huggingface import import_encoder
from preprocess.vocabulary import read_dictionary, symbols_hash
from tests.preprocess.conftest import AWKWARD
from tests.preprocess.hugging_face_folders import (
    ADDED,
    BERT,
    BLANKS,
    BYTES,
    CASES,
    GENERIC,
    LOWER,
    NAMES,
    TEXTS,
    UNCASED,
    assert_same_ids,
    auto,
    files,
    imported,
    joined,
    write_case,
    write_folder,
)


@pytest.mark.parametrize("name", CASES)
def test_ids_equal_those_of_transformers_and_come_back_in_the_export(name, tmp_path):
    kind, source = write_case(name, tmp_path / "source")
    tokenizer, encoder = imported(kind, source, tmp_path / "out")
    assert (encoder.name, encoder.pair_format) == (CASES[name][3], "bert" if kind == "bert" else "roberta")
    rows = encoder.encode(TEXTS)

    theirs, order = auto(source), tokenizer.order()
    assert len(theirs) == len(order) == len(encoder.symbols) + 5
    assert_same_ids(source, tokenizer, encoder)
    pairs = [joined(encoder, a, b) for a, b in zip(rows, rows[::-1], strict=True)]
    assert [[order[i] for i in row] for row in pairs] == theirs(TEXTS, TEXTS[::-1])["input_ids"]
    assert load_encoder(source).encode(TEXTS) == rows
    assert symbols_hash(load_encoder(source).symbols) == symbols_hash(encoder.symbols)

    (tmp_path / "exported").mkdir()
    (tmp_path / "exported/config.json").write_text(json.dumps({"model_type": kind}))
    export_tokenizer(encoder, tmp_path / "out", tmp_path / "exported", 100_000, kind == "bert", masks=False)
    texts = [*TEXTS, AWKWARD[-1]]
    rows = encoder.encode(texts)
    pairs = [joined(encoder, a, b) for a, b in zip(rows, rows[::-1], strict=True)]
    assert auto(tmp_path / "exported")(texts, texts[::-1])["input_ids"] == pairs
    again = imported(kind, tmp_path / "exported", tmp_path / "again")[1]
    assert again.encode(texts) == rows
    assert again.symbols == encoder.symbols


@pytest.mark.parametrize("name", ["roberta", "roberta added", "uncased", "bert added", "bert at blanks"])
def test_text_that_spells_a_special_of_the_sequence_format_is_ordinary(name, tmp_path):
    kind, source = write_case(name, tmp_path / "source")
    tokenizer, encoder = imported(kind, source, tmp_path / "out")
    mask = 4 + len(encoder.symbols)
    for text in [*NAMES["bert"].values(), *NAMES["roberta"].values(), AWKWARD[-1]]:
        [row] = encoder.encode([text])
        assert row
        assert not {0, 1, 2, mask} & {*row}
    if not tokenizer.added:  # otherwise transformers recognises no added special token
        theirs, order = auto(source), tokenizer.order()
        expected = theirs(AWKWARD, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert [[order[i] for i in row] for row in encoder.encode(AWKWARD)] == expected


@pytest.mark.parametrize("name", ["roberta added, lower case", "bert added", "roberta", "xlm-roberta added"])
def test_an_exported_masked_lm_takes_all_special_tokens_in_text(name, tmp_path):
    """As transformers does for the source."""
    kind, source = write_case(name, tmp_path / "source")
    tokenizer, encoder = imported(kind, source, tmp_path / "out")
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported/config.json").write_text(json.dumps({"model_type": kind}))
    export_tokenizer(encoder, tmp_path / "out", tmp_path / "exported", 100_000, False, masks=True)
    mask = NAMES[kind]["mask_token"]
    texts = [*TEXTS, f"the {mask} ferry{mask}", f"{NAMES[kind]['cls_token']} a [E2]"]
    found, order = auto(tmp_path / "exported")(texts)["input_ids"], tokenizer.order()
    assert [[order[i] for i in row] for row in found] == auto(source)(texts)["input_ids"]


def test_a_special_token_that_the_model_makes_from_text_is_unknown(tmp_path):
    """A word that is looked up whole finds `[SEP]` in the vocabulary."""
    blanks = pre_tokenizers.WhitespaceSplit()
    source = write_folder(tmp_path / "source", "bert", GENERIC, pre_tokenizer=blanks)
    _, encoder = imported("bert", source, tmp_path / "out")
    [[the, sep, again]] = encoder.encode(["the [SEP] the"])
    assert (sep, again) == (3, the)
    with pytest.raises(DataError, match="is a WordPiece tokenizer whose .*add --without-tokenizer"):
        export_tokenizer(encoder, tmp_path / "out", tmp_path, 512, False, False)


def test_a_spawned_process_encodes_alike(tmp_path):
    parts = {"normalizer": normalizers.NFC(), "added": ADDED, **BERT}
    source = write_folder(tmp_path / "source", "bert", GENERIC, **parts)
    _, encoder = imported("bert", source, tmp_path / "out")
    texts = [*TEXTS, AWKWARD[-1]]
    assert pickle.loads(pickle.dumps(encoder)).encode(texts) == encoder.encode(texts)


@pytest.mark.parametrize(
    ("kind", "class_name", "options", "starts"),
    [
        ("roberta", "RobertaTokenizer", BYTES, {"Ġthe": True, "Ġ": True, "the": False, "a": False, "[E2]": True}),
        ("bert", "BertTokenizer", UNCASED, {"the": True, "##a": False, "a": True}),
    ],
)  # fmt: skip
def test_word_starts_with_added_tokens(tmp_path, kind, class_name, options, starts):
    source = write_folder(tmp_path / "source", kind, class_name, added=ADDED[:2], **options)
    tokenizer, encoder = imported(kind, source, tmp_path / "out")
    found = dict(zip(tokenizer.ordinary, encoder.word_starts(), strict=True))
    assert {token: found[token] for token in (*starts, "[E1]")} == {**starts, "[E1]": True}


@pytest.mark.real_data
def test_robertas_own_vocabulary_comes_out_byte_by_byte(real_data, tmp_path):
    """vocab.json as roberta-base has it, rebuilt from fairseq's files, gives these files back."""
    stock, source, out = real_data / "gpt2_bpe", tmp_path / "hf", tmp_path / "out"
    source.mkdir()
    spelled = {str(i): token for token, i in json.loads((stock / "encoder.json").read_text()).items()}
    symbols = read_dictionary(stock / "dict.txt")
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *(spelled.get(s, s) for s in symbols), "<mask>"]
    (source / "vocab.json").write_text(json.dumps({token: row for row, token in enumerate(tokens)}))
    (source / "merges.txt").write_bytes((stock / "vocab.bpe").read_bytes())

    tokenizer, encoder = imported("roberta", source, out)
    assert tokenizer.order() == list(range(50265))
    assert read_dictionary(out / "dict.txt") == symbols
    for name in ("encoder.json", "vocab.bpe"):
        assert (out / name).read_bytes() == (stock / name).read_bytes()
    assert encoder.hash == load_encoder(stock).hash


def test_berts_files_are_kept_and_its_rows_reordered(tmp_path):
    source, out = tmp_path / "hf", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    (source / "vocab.txt").write_text("[PAD]\nx\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ny\n")
    (source / "tokenizer_config.json").write_text('{"do_lower_case": true}')

    assert import_encoder("bert", source, out).order() == [3, 0, 4, 2, 1, 6, 5]
    assert read_dictionary(out / "dict.txt") == ["x", "y"]
    assert load_encoder(out).encode(["Y x z"]) == [[5, 4, 3]]
    assert sorted(path.name for path in out.iterdir()) == ["dict.txt", "tokenizer_config.json", "vocab.txt"]


CASE = "no file states whether the vocabulary is cased: set do_lower_case"


@pytest.mark.parametrize(
    ("class_name", "options", "message"),
    [
        ("BertJapaneseTokenizer", BERT, "set tokenizer_class to PreTrainedTokenizerFast in tokenizer_config.json"),
        ("FooTokenizerFast", files(), "has the tokenizer_class FooTokenizer"),
        (GENERIC, files(), "has the tokenizer_class PreTrainedTokenizerFast"),
        ("BertTokenizer", files(auto_map={"AutoTokenizer": ["tok.Tok", None]}), "the tokenizer needs its own code"),
        ("BertTokenizer", files(), CASE),
        ("BertTokenizer", {**BERT, "normalizer": normalizers.BertNormalizer(lowercase=False)}, CASE),
        ("BertTokenizer", {**BERT, **LOWER, "config": {"do_lower_case": True}},
         'has the normalizer {"type": "Lowercase"}, but BertTokenizer has'),
        ("BertTokenizer", {**UNCASED, "template": "roberta"},
         'has the post_processor "4 special tokens in a pair", but BertTokenizer has "3'),
        ("BertTokenizer", {**UNCASED, "pre_tokenizer": BLANKS}, 'has the pre_tokenizer {"type": "Sequence"'),
        ("BertTokenizer", {**UNCASED, "added": ADDED[:1], "config": {"added_tokens_decoder": {}}},
         'has the added token "[E1]", but'),
        (GENERIC, {**BERT, "template": "roberta"}, "but its tokenizer joins pairs in the format of roberta"),
        (GENERIC, {**BERT, "config": {"mask_token": None, "pad_token": None}}, "names no pad_token, mask_token"),
        (GENERIC, {**BERT, "config": {"pad_token": "[SEP]"}}, "uses '[SEP]' for two of cls_token"),
        ("XLMRobertaTokenizer", UNCASED, "has no Unigram tokenizer.json: give"),
        (GENERIC, {**BERT, "config": {"added_tokens_decoder": {"7": 1}}}, "describes tokens that cannot be read"),
    ],
)  # fmt: skip
def test_a_tokenizer_that_cannot_be_reproduced_is_refused_before_writing(
    tmp_path, class_name, options, message
):
    source = write_folder(tmp_path / "source", "bert", class_name, **options)
    with pytest.raises(DataError) as error:
        imported("bert", source, tmp_path / "out")
    assert message in str(error.value)
    assert not list((tmp_path / "out").iterdir())
