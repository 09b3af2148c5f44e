"""Reads and writes fairseq dictionaries and converts other vocabularies to them.

The first four indices are fairseq's special tokens, followed by the lines of `dict.txt`; tasks append `<mask>`:

    0 <s>   1 <pad>   2 </s>   3 <unk>   4 ... dict.txt in order   last <mask>
"""

import hashlib
import io
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path

from .encoder_files import read_text
from .errors import DataError

BOS, PAD, EOS, UNK = range(4)
SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
MASK = "<mask>"

BERT_SPECIALS = ["[CLS]", "[PAD]", "[SEP]", "[UNK]"]  # in the order of SPECIALS
BERT_MASK = "[MASK]"

END_OF_TEXT = "<|endoftext|>"


def read_dictionary(path: str | Path) -> list[str]:
    """Return the symbols of a dict.txt in order, parsed as in fairseq's `Dictionary.load`. Raises DataError."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} does not exist: give a folder that has the fairseq dictionary as dict.txt.")

    # Universal newlines, as in fairseq.
    lines = [line.rstrip() for line in io.StringIO(read_text(path), newline=None)]
    pairs = [line.removesuffix(" #fairseq:overwrite").rpartition(" ") for line in lines]
    for number, (_, _, count) in enumerate(pairs, start=1):
        if not count.removeprefix("-").isdecimal():
            raise DataError(
                f"{path} line {number} is {lines[number - 1]!r}, expected a symbol and its count: "
                "give the encoder's own dict.txt."
            )
    return [symbol for symbol, _, _ in pairs]


def dictionary_text(symbols: Iterable[str], counts: Iterable[int] | None = None) -> str:
    """Return the content of dict.txt, one `symbol count` per line; unknown counts are 1 (counts are not used here)."""
    symbols = list(symbols)
    counts = [1] * len(symbols) if counts is None else counts
    return "".join(f"{symbol} {count}\n" for symbol, count in zip(symbols, counts, strict=True))


def write_dictionary(path: str | Path, symbols: Iterable[str], counts: Iterable[int] | None = None) -> None:
    """Write dict.txt; arguments as for `dictionary_text`."""
    Path(path).write_text(dictionary_text(symbols, counts), encoding="utf-8", newline="\n")


def symbols_hash(symbols: Iterable[str]) -> str:
    """Return the sha256 of the newline-joined symbols: equal for dictionaries with equal indices.

    Counts and fairseq's special tokens are not included.
    """
    return hashlib.sha256("\n".join(symbols).encode()).hexdigest()


def dictionary_symbol(piece: str) -> str:
    r"""Return the spelling in dict.txt of a token from another vocabulary.

    A backslash escapes tokens that are spelled like a fairseq special token (`<mask>` as `\<mask>`), because they
    are ordinary text here. It also escapes line breaks.
    """
    if piece in SPECIALS or piece == MASK:
        return "\\" + piece
    return piece.replace("\n", "\\n").replace("\r", "\\r")


def byte_symbols() -> list[str]:
    """Return GPT-2's printable characters for the 256 bytes, in the order of their ids (Radford et al., 2019)."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = 256 - len(printable)
    return [chr(code) for code in (*printable, *range(256, 256 + others))]


def gpt2_ids(tokens: Container[str], merges: Sequence[str]) -> dict[str, int]:
    """Return token -> GPT-2 id for every token that the BPE can produce, and for `<|endoftext|>` if it is in `tokens`.

    merges  `left right`, in order
    """
    ids = {symbol: number for number, symbol in enumerate(byte_symbols())}
    for number, merge in enumerate(merges, start=len(ids)):
        ids.setdefault(merge.replace(" ", ""), number)
    if END_OF_TEXT in tokens:
        ids.setdefault(END_OF_TEXT, 256 + len(merges))
    return ids


def gpt2_symbol(token: str, ids: Mapping[str, int]) -> str:
    """Return the token's symbol in dict.txt: its GPT-2 id in decimal, or its spelling if the BPE cannot produce it."""
    if token in ids:
        return str(ids[token])
    # An unescaped number would be read as a GPT-2 id.
    return "\\" + token if token.isdigit() else dictionary_symbol(token)
