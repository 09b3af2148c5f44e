import pytest

from preprocess.errors import DataError
from preprocess.vocabulary import dictionary_symbol, read_dictionary, write_dictionary


def test_fairseq_reads_what_we_write(tmp_path):
    from fairseq.data import Dictionary

    symbols = ["a", "##b", "two words", "\u2028", "\\<mask>", "ы", " lead"]
    write_dictionary(tmp_path / "dict.txt", symbols, range(len(symbols)))

    theirs = Dictionary.load(str(tmp_path / "dict.txt"))
    assert theirs.symbols[4:] == symbols
    assert theirs.add_symbol("<mask>") == 4 + len(symbols)
    assert read_dictionary(tmp_path / "dict.txt") == symbols


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a 1\nb\n", "line 2 is 'b'"), (b"a 1\n\xff 1\n", r"dict\.txt is not UTF-8 \(byte 4\)")],
)
def test_a_damaged_dictionary_is_an_error(tmp_path, content, message):
    (tmp_path / "dict.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_dictionary(tmp_path / "dict.txt")


@pytest.mark.parametrize(
    ("piece", "symbol"), [("a", "a"), ("<mask>", "\\<mask>"), ("<s>", "\\<s>"), ("\n", "\\n")]
)
def test_a_piece_never_becomes_a_special(piece, symbol):
    assert dictionary_symbol(piece) == symbol
