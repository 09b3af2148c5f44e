"""Reads pieces and normalization of a SentencePiece model, a protobuf message, without the package protobuf.

The numbers of the fields are those of sentencepiece_model.proto:

    ModelProto      1 pieces   2 trainer_spec   3 normalizer_spec
    SentencePiece   1 piece   2 score   3 type (1 normal, 2 unknown, 3 control, 4 user-defined, ..)
    TrainerSpec     3 model_type (1 unigram, 2 BPE, ..)
    NormalizerSpec  2 precompiled_charsmap
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .encoder_files import damaged
from .errors import DataError

UNIGRAM = NORMAL = 1
SPECIALS = 3  # <unk>, <s>, </s>


@dataclass(frozen=True)
class UnigramModel:
    """A unigram model.

    pieces    piece and score, in the order of their ids
    charsmap  normalization rules in SentencePiece's own format; empty without normalization
    """

    pieces: list[tuple[str, float]]
    charsmap: bytes


def read_unigram(path: Path) -> UnigramModel:
    """Return the model in a file. Raises DataError if it is damaged, or has parts other than unigram pieces."""
    try:
        fields = list(_fields(path.read_bytes()))
        trainer, normalizer = (dict(_fields(_last(fields, number))) for number in (2, 3))
        stored = [dict(_fields(value)) for field, value in fields if field == 1]
        pieces = [(piece[1].decode(), *struct.unpack("<f", piece.get(2, bytes(4)))) for piece in stored]
        if not pieces:
            raise ValueError("it has no pieces")
    except (IndexError, KeyError, ValueError, AttributeError, TypeError, struct.error) as error:
        raise damaged(path, f"is not a SentencePiece model ({error})") from None

    others = [piece[1].decode() for piece in stored[SPECIALS:] if piece.get(3, NORMAL) != NORMAL]
    if trainer.get(3, UNIGRAM) != UNIGRAM or others:
        what = f"has {others[0]!r}, which is no normal piece" if others else "is not a unigram model"
        raise DataError(f"{path} {what}, unlike XLM-RoBERTa's: use another model.")
    return UnigramModel(pieces, normalizer.get(2, b""))


def _last(fields: list[tuple[int, Any]], number: int) -> bytes:
    return ([value for field, value in fields if field == number] or [b""])[-1]


def _fields(raw: bytes) -> Iterator[tuple[int, Any]]:
    """Yield number and value of each field of a message: an int if it is a varint, otherwise its bytes."""
    position = 0
    while position < len(raw):
        key, position = _varint(raw, position)
        field, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, position = _varint(raw, position)
            yield field, value
            continue
        size = {1: 8, 5: 4}.get(wire_type)
        if wire_type == 2:
            size, position = _varint(raw, position)
        if size is None or position + size > len(raw):
            raise ValueError(f"unexpected data at byte {position}")
        yield field, raw[position : position + size]
        position += size


def _varint(raw: bytes, position: int) -> tuple[int, int]:
    """Return the number that begins at `position`, and the position after it."""
    number = shift = 0
    while raw[position] & 128:
        number |= (raw[position] & 127) << shift
        shift, position = shift + 7, position + 1
    return number | raw[position] << shift, position + 1
