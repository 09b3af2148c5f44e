"""The text of a piece: its bytes, its hash, its documents."""

import hashlib
from collections.abc import Iterator

from ..errors import DataError
from .documents import Document, documents
from .plan import Piece, Span, lines_before


def read_documents(piece: Piece, raw_hash) -> Iterator[Document]:
    """The clean documents of a piece; updates `raw_hash` with the bytes they are from."""
    for span in piece.spans:
        yield from documents(piece.kind, _lines(span, raw_hash), _placer(span))


def read_hash(piece: Piece) -> str:
    """The sha256 of a piece's bytes."""
    whole = hashlib.sha256()
    for span in piece.spans:
        whole.update(_read(span))
    return whole.hexdigest()


def _lines(span: Span, raw_hash) -> list[str]:
    """A function of its own, so that neither bytes nor text are held any longer than the lines need."""
    raw = _read(span)
    raw_hash.update(raw)
    return _decoded(span, raw).replace("\r\n", "\n").split("\n")


def _read(span: Span) -> bytes:
    try:
        with span.file.path.open("rb") as file:
            file.seek(span.start)
            raw = file.read(span.stop - span.start)
    except OSError as error:
        raise DataError(f"{span.file.name}: {error.strerror}: it was there when the run began.") from None
    if len(raw) < span.stop - span.start:
        raise DataError(f"{span.file.name} became shorter while it was read: run again when it is complete.")
    return raw


def _decoded(span: Span, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = lines_before(span.file, span.start + error.start) + 1
        raise DataError(
            f"{span.file.name} line {line} is not UTF-8 (byte {raw[error.start]:#04x}): convert the file "
            "(iconv -t utf-8) or leave it out."
        ) from None


def _placer(span: Span):
    return lambda i: f"{span.file.name} line {lines_before(span.file, span.start) + i + 1}"
