"""Which index a symbol has: fairseq's dictionaries, and how other vocabularies become one.

fairseq numbers its four specials first, then the lines of `dict.txt`; tasks append `<mask>`:

    0 <s>   1 <pad>   2 </s>   3 <unk>   4 ... dict.txt in order   last <mask>
"""

import hashlib
import io
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path

from .errors import DataError
from .files import read_text

BOS, PAD, EOS, UNK = range(4)
SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
MASK = "<mask>"

BERT_SPECIALS = ["[CLS]", "[PAD]", "[SEP]", "[UNK]"]  # in the order of SPECIALS
BERT_MASK = "[MASK]"

END_OF_TEXT = "<|endoftext|>"


def read_dictionary(path: str | Path) -> list[str]:
    """The symbols of a dict.txt in order, read by the rules of fairseq's `Dictionary.load`."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} does not exist: an encoder folder holds the fairseq dictionary as dict.txt.")

    # Universal newlines, as fairseq opens it.
    lines = [line.rstrip() for line in io.StringIO(read_text(path), newline=None)]
    pairs = [line.removesuffix(" #fairseq:overwrite").rpartition(" ") for line in lines]
    for number, (_, _, count) in enumerate(pairs, start=1):
        if not count.removeprefix("-").isdecimal():
            raise DataError(
                f"{path} line {number} is {lines[number - 1]!r}, not a symbol and its count: "
                "give the dict.txt that belongs to the encoder."
            )
    return [symbol for symbol, _, _ in pairs]


def write_dictionary(path: str | Path, symbols: Iterable[str], counts: Iterable[int] | None = None) -> None:
    """Writes dict.txt, one `symbol count` a line; the count is 1 where none is known (none is used here)."""
    symbols = list(symbols)
    counts = [1] * len(symbols) if counts is None else list(counts)
    lines = [f"{symbol} {count}\n" for symbol, count in zip(symbols, counts, strict=True)]
    Path(path).write_text("".join(lines), encoding="utf-8", newline="\n")


def symbols_hash(symbols: Iterable[str]) -> str:
    """sha256 over the newline-joined symbols: equal for two dictionaries that give equal indices.

    Counts and fairseq's specials do not take part.
    """
    return hashlib.sha256("\n".join(symbols).encode()).hexdigest()


def dictionary_symbol(piece: str) -> str:
    r"""How a piece of a foreign vocabulary is spelled in dict.txt.

    A piece spelled like one of fairseq's specials is ordinary text, and one with a line break would
    break the file, so these few are written with a backslash: `<mask>` as `\<mask>`.
    """
    if piece in SPECIALS or piece == MASK:
        return "\\" + piece
    return piece.replace("\n", "\\n").replace("\r", "\\r")


def byte_symbols() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes, in the order of their ids (Radford et al., 2019)."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = 256 - len(printable)
    return [chr(code) for code in (*printable, *range(256, 256 + others))]


def gpt2_ids(tokens: Container[str], merges: Sequence[str]) -> dict[str, int]:
    """Token -> GPT-2's id, for every token that a byte-level BPE can make, and `<|endoftext|>` if it is in `tokens`.

    merges  `left right`, in order
    """
    ids = {symbol: number for number, symbol in enumerate(byte_symbols())}
    for number, merge in enumerate(merges, start=len(ids)):
        ids.setdefault(merge.replace(" ", ""), number)
    if END_OF_TEXT in tokens:
        ids.setdefault(END_OF_TEXT, 256 + len(merges))
    return ids


def gpt2_symbol(token: str, ids: Mapping[str, int]) -> str:
    """The token in dict.txt: its GPT-2 id in decimal. A token that the BPE cannot make keeps its name."""
    if token in ids:
        return str(ids[token])
    # A number would be taken for a GPT-2 id.
    return "\\" + token if token.isdigit() else dictionary_symbol(token)
