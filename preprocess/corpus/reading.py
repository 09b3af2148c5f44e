"""Reads the text of a piece: its documents and its hash."""

from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256

from ..errors import DataError
from ..file_types import undecodable
from .compressed import blocks
from .documents import Document, documents
from .inputs import File
from .plan import Piece, Span, lines_before


def read_documents(piece: Piece, raw_hash) -> Iterator[Document]:
    """Yield the clean documents of a piece; update `raw_hash` with its decompressed bytes.

    Raises DataError if the text cannot be read.
    """
    for span in piece.spans:
        if span.file.compressed:
            yield from _documents_of_blocks(piece.kind, span.file, raw_hash)
        else:
            before = partial(lines_before, span.file, span.start)
            yield from documents(piece.kind, _lines(span, raw_hash, before), _placer(span.file, before))


def read_hash(piece: Piece) -> str:
    """Return the sha256 of a piece's decompressed bytes."""
    whole = sha256()
    for span in piece.spans:
        for raw in blocks(span.file, piece.kind) if span.file.compressed else [_read(span)]:
            whole.update(raw)
    return whole.hexdigest()


def _documents_of_blocks(kind: str, file: File, raw_hash) -> Iterator[Document]:
    done = 0
    for raw in blocks(file, kind):
        raw_hash.update(raw)
        before = partial(int, done)
        done += raw.count(b"\n")
        lines = _split(file, raw, before)
        del raw  # free the memory
        yield from documents(kind, lines, _placer(file, before))


def _lines(span: Span, raw_hash, before: Callable[[], int]) -> list[str]:
    """Return the lines of a span; a separate function, so that its bytes are freed on return."""
    raw = _read(span)
    raw_hash.update(raw)
    return _split(span.file, raw, before)


def _split(file: File, raw: bytes, before: Callable[[], int]) -> list[str]:
    """Return the lines of decoded text; `before` returns the number of earlier lines in the file, for errors."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = before() + raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"{undecodable(file.name, line, raw, error)} or leave it out.") from None
    return text.replace("\r\n", "\n").split("\n")


def _read(span: Span) -> bytes:
    try:
        with span.file.path.open("rb") as file:
            file.seek(span.start)
            raw = file.read(span.stop - span.start)
    except OSError as error:
        raise DataError(
            f"{span.file.name}: {error.strerror}; it was readable at the start: restore it and run again."
        ) from None
    if len(raw) < span.stop - span.start:
        raise DataError(f"{span.file.name} became shorter during reading: run again when it is complete.")
    return raw


def _placer(file: File, before: Callable[[], int]) -> Callable[[int], str]:
    return lambda i: f"{file.name} line {before() + i + 1}"
