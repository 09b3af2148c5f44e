"""The encoder of a Hugging Face BERT or RoBERTa folder, as an encoder folder of this package.

BERT's files are kept. RoBERTa's byte-level BPE becomes GPT-2's pair of files, with fairseq's dict.txt:

    token of the BPE   its GPT-2 id: 0..255 the bytes, 256 + i what merge i makes, then <|endoftext|>
    symbol in dict.txt that id in decimal, in the order of the model's embedding rows
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import DataError
from .files import checked_rows, damaged, part, read_object, read_text
from .vocabulary import (
    MASK,
    SPECIALS,
    dictionary_symbol,
    read_wordpiece_vocabulary,
    wordpiece_order,
    wordpiece_settings,
    wordpiece_symbols,
    write_dictionary,
)

END_OF_TEXT = "<|endoftext|>"
WORDPIECE_SETTINGS = ("tokenizer_config.json", "tokenizer.json")


@dataclass(frozen=True)
class ByteLevelBPE:
    """A byte-level vocabulary: token -> row of the embeddings, and the merges in order, `left right`."""

    rows: Mapping[str, int]
    merges: list[str]

    def gpt2_ids(self) -> dict[str, int]:
        """Token -> GPT-2's id, for every token the BPE can make."""
        ids = {symbol: number for number, symbol in enumerate(byte_symbols())}
        for number, merge in enumerate(self.merges, start=len(ids)):
            ids.setdefault(merge.replace(" ", ""), number)
        if END_OF_TEXT in self.rows:
            ids.setdefault(END_OF_TEXT, 256 + len(self.merges))
        return ids

    def ordinary(self) -> list[str]:
        """Every token but the specials, in the order of their rows."""
        missing = [token for token in (*SPECIALS, MASK) if token not in self.rows]
        if missing:
            raise DataError(
                f"the vocabulary has no {', '.join(missing)}: give the tokenizer files of a RoBERTa model."
            )
        return sorted(set(self.rows) - {*SPECIALS, MASK}, key=self.rows.get)

    def symbols(self) -> list[str]:
        """What dict.txt holds; a token that the BPE cannot make keeps its name (`madeupword0000`)."""
        ids = self.gpt2_ids()
        return [str(ids[token]) if token in ids else _unreachable_symbol(token) for token in self.ordinary()]

    def order(self) -> list[int]:
        """For every fairseq index, the row of the embeddings."""
        return [self.rows[token] for token in (*SPECIALS, *self.ordinary(), MASK)]


def import_encoder(kind: str, source: Path, target: Path) -> list[int]:
    """Writes dict.txt and the encoder's own files; returns, for every index, the row of the model's vocabulary.

    kind    bert or roberta
    source  Hugging Face folder
    target  folder to write to; it exists
    """
    return _import_wordpiece(source, target) if kind == "bert" else _import_byte_level(source, target)


def byte_symbols() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes, in the order of their ids (Radford et al., 2019)."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = 256 - len(printable)
    return [chr(code) for code in (*printable, *range(256, 256 + others))]


def read_byte_level(folder: Path) -> ByteLevelBPE:
    """From vocab.json and merges.txt or, where only that is kept, tokenizer.json."""
    vocabulary, merges, full = (folder / name for name in ("vocab.json", "merges.txt", "tokenizer.json"))
    if vocabulary.is_file() and merges.is_file():
        lines = read_text(merges).split("\n")
        header = 1 if lines[0].startswith("#version") else 0
        rows = checked_rows(vocabulary, read_object(vocabulary))
        return ByteLevelBPE(rows, [line.rstrip("\r") for line in lines[header:] if line])

    if full.is_file():
        tokenizer = read_object(full)
        model = part(full, tokenizer, "model")
        if model.get("type") == "BPE":
            return _byte_level_of(full, model, tokenizer.get("added_tokens") or [])

    raise DataError(
        f"{folder} has neither vocab.json with merges.txt nor a byte-level BPE tokenizer.json: "
        "give a folder that holds a RoBERTa tokenizer."
    )


def _byte_level_of(path: Path, model: Mapping[str, Any], added: list[Mapping[str, Any]]) -> ByteLevelBPE:
    try:
        rows = {**model["vocab"], **{token["content"]: token["id"] for token in added}}
        # Older versions write "left right", newer ones ["left", "right"].
        merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    except (KeyError, TypeError) as error:
        raise damaged(
            path, f"is not a BPE tokenizer as it should be ({type(error).__name__}: {error})"
        ) from None
    return ByteLevelBPE(checked_rows(path, rows), merges)


def _import_wordpiece(source: Path, target: Path) -> list[int]:
    vocabulary = read_wordpiece_vocabulary(source)
    wordpiece_settings(source)  # says what is missing before anything is written
    symbols = wordpiece_symbols(vocabulary)

    _write(target / "vocab.txt", "".join(f"{entry}\n" for entry in vocabulary))
    for name in WORDPIECE_SETTINGS:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / f"{name}.part")
            os.replace(target / f"{name}.part", target / name)
    _write_dictionary(target, symbols)
    return wordpiece_order(vocabulary)


def _import_byte_level(source: Path, target: Path) -> list[int]:
    bpe = read_byte_level(source)
    order, symbols = bpe.order(), bpe.symbols()

    _write(target / "encoder.json", json.dumps(bpe.gpt2_ids()))
    _write(target / "vocab.bpe", "".join(f"{line}\n" for line in ("#version: 0.2", *bpe.merges)))
    _write_dictionary(target, symbols)
    return order


def _unreachable_symbol(token: str) -> str:
    # A number would be taken for a GPT-2 id.
    return "\\" + token if token.isdigit() else dictionary_symbol(token)


def _write(path: Path, text: str) -> None:
    aside = path.with_name(path.name + ".part")
    aside.write_text(text, encoding="utf-8", newline="\n")
    os.replace(aside, path)


def _write_dictionary(folder: Path, symbols: list[str]) -> None:
    write_dictionary(folder / "dict.txt.part", symbols)
    os.replace(folder / "dict.txt.part", folder / "dict.txt")
