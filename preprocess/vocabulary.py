"""Which index a symbol has: fairseq's dictionaries, and how a BERT or SentencePiece vocabulary becomes one.

fairseq numbers its four specials first, then the lines of `dict.txt`; tasks append `<mask>`:

    0 <s>   1 <pad>   2 </s>   3 <unk>   4 ... dict.txt in order   last <mask>
"""

import hashlib
import io
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from .errors import DataError
from .files import checked_rows, damaged, part, read_object, read_text

BOS, PAD, EOS, UNK = range(4)
SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
MASK = "<mask>"

BERT_SPECIALS = ["[CLS]", "[PAD]", "[SEP]", "[UNK]"]  # in the order of SPECIALS
BERT_MASK = "[MASK]"

# As the normalizer of tokenizer.json calls them -> as tokenizer_config.json does.
SETTINGS = {
    "lowercase": "do_lower_case",
    "strip_accents": "strip_accents",
    "handle_chinese_chars": "tokenize_chinese_chars",
}


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


def read_wordpiece_vocabulary(folder: str | Path) -> list[str]:
    """The BERT vocabulary in row order, from vocab.txt or, where only that is kept, tokenizer.json."""
    folder = Path(folder)
    plain, full = folder / "vocab.txt", folder / "tokenizer.json"

    if plain.is_file():
        # Split at "\n" alone: some vocabularies hold Unicode line separators as entries.
        vocabulary = read_text(plain).removesuffix("\n").split("\n")
        return [entry.removesuffix("\r") for entry in vocabulary]

    if full.is_file():
        model = part(full, read_object(full), "model")
        if model.get("type") == "WordPiece":
            rows = checked_rows(full, model.get("vocab"))
            if max(rows.values()) >= len(rows):
                raise damaged(full, f"leaves out some of the numbers up to {max(rows.values())}")
            return sorted(rows, key=rows.get)

    raise DataError(
        f"{folder} has neither vocab.txt nor a WordPiece tokenizer.json: "
        "give the folder of a BERT tokenizer, or another --encoder."
    )


def wordpiece_symbols(vocab: list[str]) -> list[str]:
    """The dict.txt of a BERT vocabulary: its entries in order, without the five specials."""
    _check_wordpiece(vocab)
    left_out = {*BERT_SPECIALS, BERT_MASK}
    return [dictionary_symbol(entry) for entry in vocab if entry not in left_out]


def wordpiece_order(vocab: list[str]) -> list[int]:
    """For every fairseq index, the row of the BERT vocabulary: `fairseq_embedding = bert_embedding[order]`.

    [CLS] -> 0, [PAD] -> 1, [SEP] -> 2, [UNK] -> 3, the others in vocabulary order, [MASK] last.
    """
    _check_wordpiece(vocab)
    rows = {entry: row for row, entry in enumerate(vocab)}
    first, last = [rows[entry] for entry in BERT_SPECIALS], rows[BERT_MASK]
    placed = {*first, last}
    return [*first, *(row for row in range(len(vocab)) if row not in placed), last]


def wordpiece_settings(folder: str | Path) -> dict[str, bool | None]:
    """Casing, accents and Chinese characters, as the tokenizer's own configuration has them.

    tokenizer_config.json decides where it names the casing, as in transformers; else the normalizer
    of tokenizer.json. A vocabulary alone does not say whether it is cased: that is an error.
    """
    plain, full = Path(folder) / "tokenizer_config.json", Path(folder) / "tokenizer.json"
    config = read_object(plain) if plain.is_file() else {}
    normalizer = part(full, read_object(full), "normalizer") if full.is_file() else {}
    if normalizer.get("type") != "BertNormalizer":
        normalizer = {}

    settings = {}
    for ours, theirs in SETTINGS.items():
        path, found = (plain, config[theirs]) if theirs in config else (full, normalizer.get(ours))
        if not (found is None or isinstance(found, bool)):
            raise damaged(path, f"sets {theirs if path == plain else ours} to {found!r}, not true or false")
        settings[ours] = found

    if settings["lowercase"] is None:
        raise DataError(
            f"--encoder-dir {folder} does not say whether its vocabulary is cased: "
            'add a tokenizer_config.json holding {"do_lower_case": true} or false.'
        )
    if settings["handle_chinese_chars"] is None:
        settings["handle_chinese_chars"] = True
    return settings


def _check_wordpiece(vocab: list[str]) -> None:
    missing = [entry for entry in (*BERT_SPECIALS, BERT_MASK) if entry not in vocab]
    if missing:
        raise DataError(
            f"The WordPiece vocabulary has {len(vocab)} entries but no {', '.join(missing)}: "
            "give the vocab.txt of a BERT model."
        )

    repeated = [entry for entry, times in Counter(vocab).items() if times > 1]
    if repeated:
        raise DataError(
            f"The WordPiece vocabulary has {repeated[0]!r} more than once: "
            "give a vocab.txt in which every line differs."
        )
