import pytest

from preprocess.errors import DataError
from preprocess.vocabulary import (
    dictionary_symbol,
    read_dictionary,
    read_wordpiece_vocabulary,
    wordpiece_order,
    wordpiece_settings,
    wordpiece_symbols,
    write_dictionary,
)

VOCAB = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b", "</s>"]


def test_wordpiece_symbols_are_the_entries_without_the_specials():
    assert wordpiece_symbols(VOCAB) == ["[unused0]", "a", "##b", "\\</s>"]


def test_wordpiece_order_puts_the_specials_where_fairseq_has_them():
    #                               <s> <pad> </s> <unk> [unused0] a ##b </s> <mask>
    assert wordpiece_order(VOCAB) == [3, 0, 4, 2, 1, 6, 7, 8, 5]


@pytest.mark.parametrize(
    ("vocab", "said"),
    [
        (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"], r"no \[MASK\]"),
        ([*VOCAB, "a"], "'a' more than once"),
    ],
)
def test_a_vocabulary_that_cannot_be_numbered_is_refused(vocab, said):
    with pytest.raises(DataError, match=said):
        wordpiece_symbols(vocab)


def test_fairseq_reads_what_we_write(tmp_path):
    from fairseq.data import Dictionary

    symbols = ["a", "##b", "two words", "\u2028", "\\<mask>", "ы", " lead"]
    write_dictionary(tmp_path / "dict.txt", symbols, range(len(symbols)))

    theirs = Dictionary.load(str(tmp_path / "dict.txt"))
    assert theirs.symbols[4:] == symbols
    assert theirs.add_symbol("<mask>") == 4 + len(symbols)
    assert read_dictionary(tmp_path / "dict.txt") == symbols


def test_a_line_that_is_no_dictionary_line_is_named(tmp_path):
    (tmp_path / "dict.txt").write_text("a 1\nb\n")
    with pytest.raises(DataError, match="line 2 is 'b'"):
        read_dictionary(tmp_path / "dict.txt")


@pytest.mark.parametrize(
    ("piece", "symbol"), [("a", "a"), ("<mask>", "\\<mask>"), ("<s>", "\\<s>"), ("\n", "\\n")]
)
def test_a_piece_never_becomes_a_special(piece, symbol):
    assert dictionary_symbol(piece) == symbol


def test_the_vocabulary_is_split_at_line_feeds_only(tmp_path):
    (tmp_path / "vocab.txt").write_bytes("a\r\n\u2028\nb\n".encode())
    assert read_wordpiece_vocabulary(tmp_path) == ["a", "\u2028", "b"]


def test_the_vocabulary_is_found_in_tokenizer_json_alone(tmp_path):
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "WordPiece", "vocab": {"b": 1, "a": 0}}}')
    assert read_wordpiece_vocabulary(tmp_path) == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("vocab.txt", b"a\n\xff\n", r"is not UTF-8 \(byte 2\)"),
        ("tokenizer.json", b"{bad", "is not valid JSON"),
        ("tokenizer.json", b"[1]", "is JSON but not an object"),
        ("tokenizer.json", b'{"model": []}', 'holds a "model" that is not an object'),
        ("tokenizer.json", b'{"model": {"type": "WordPiece"}}', "holds no vocabulary"),
        ("tokenizer.json", b'{"model": {"type": "WordPiece", "vocab": ["a"]}}', "holds no vocabulary"),
        ("tokenizer.json", b'{"model": {"type": "WordPiece", "vocab": {"a": "0"}}}', "holds no vocabulary"),
        ("tokenizer.json", b'{"model": {"type": "WordPiece", "vocab": {"a": 0, "b": 0}}}', "same number"),
        ("tokenizer.json", b'{"model": {"type": "WordPiece", "vocab": {"a": 0, "b": 5}}}', "numbers up to 5"),
    ],
)
def test_a_damaged_vocabulary_is_one_sentence(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name} .*{said}.*: take a fresh copy"):
        read_wordpiece_vocabulary(tmp_path)


def test_a_tokenizer_without_a_model_is_no_vocabulary(tmp_path):
    (tmp_path / "tokenizer.json").write_text('{"model": null}')
    with pytest.raises(DataError, match=r"neither vocab\.txt nor a WordPiece tokenizer\.json"):
        read_wordpiece_vocabulary(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tokenizer_config.json", "[1]", "is JSON but not an object"),
        ("tokenizer_config.json", '{"do_lower_case": "no"}', "sets do_lower_case to 'no', not true or false"),
        ("tokenizer_config.json", '{"do_lower_case": 1}', "sets do_lower_case to 1"),
        ("tokenizer.json", '{"normalizer": "lower"}', 'holds a "normalizer" that is not an object'),
        (
            "tokenizer.json",
            '{"normalizer": {"type": "BertNormalizer", "lowercase": []}}',
            r"lowercase to \[\]",
        ),
    ],
)
def test_damaged_settings_are_one_sentence(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=rf"{name} .*{said}.*: take a fresh copy"):
        wordpiece_settings(tmp_path)


def test_a_dictionary_that_is_not_utf8_is_one_sentence(tmp_path):
    (tmp_path / "dict.txt").write_bytes(b"a 1\n\xff 1\n")
    with pytest.raises(DataError, match=r"dict\.txt is not UTF-8 \(byte 4\)"):
        read_dictionary(tmp_path / "dict.txt")


@pytest.mark.real_data
def test_roberta_dictionary_has_its_published_size(real_data):
    assert len(read_dictionary(real_data / "gpt2_bpe" / "dict.txt")) == 50_260
