"""Reads the text of a piece: decompresses, decodes and hashes it, and yields its documents."""

from collections.abc import Iterator, Sequence
from functools import partial
from hashlib import sha256
from typing import Any

from ..errors import DataError
from ..file_types import open_text, undecodable
from . import plan_pieces as plan
from .clean_documents import Document, documents
from .input_files import File, find_sources
from .split_sentences import sentences


def read_documents(piece: plan.Piece, raw_hash: Any) -> Iterator[Document]:
    """Yield the clean documents of a piece; update `raw_hash`, a hash object, with its decompressed bytes.

    Raises DataError if the text cannot be read.
    """
    for span in piece.spans:
        done = 0  # lines of the file before the block
        for raw in _blocks(span, piece.kind):
            raw_hash.update(raw)
            place = partial(_place, span, done)
            lines = _decoded_lines(span, raw, done)
            done += raw.count(b"\n")
            del raw  # free the memory
            yield from documents(piece.kind, lines, place)


def clean_lines(inputs: Sequence[str]) -> Iterator[str]:
    """Yield the sentences of `--input`s, and an empty line after each document; for tokenizer training.

    Raises DataError if there is no text, if it cannot be read, or if a file would be read twice.
    """
    for piece in plan.cut(find_sources(inputs)):
        for document in filter(None, read_documents(piece, sha256())):
            for paragraph in document:
                yield from (sentence.strip() for sentence in sentences(paragraph))
            yield ""


def read_hash(piece: plan.Piece) -> str:
    """Return the sha256 of a piece's decompressed bytes."""
    raw_hash = sha256()
    for span in piece.spans:
        for raw in _blocks(span, piece.kind):
            raw_hash.update(raw)
    return raw_hash.hexdigest()


def _blocks(span: plan.Span, kind: str) -> Iterator[bytes]:
    if span.file.compressed:
        yield from decompressed_blocks(span.file, kind)
        return
    try:
        with span.file.path.open("rb") as file:
            file.seek(span.start)
            raw = file.read(span.stop - span.start)
    except OSError as error:
        raise DataError(f"{span.file.name}: {error.strerror}; restore it and run again.") from None
    if len(raw) < span.stop - span.start:
        raise DataError(f"{span.file.name} became shorter during reading: run again when it is complete.")
    yield raw


def decompressed_blocks(file: File, kind: str) -> Iterator[bytes]:
    """Yield the decompressed bytes of a file, which cannot be divided, in blocks of whole documents.

    A block has at least SMALLEST bytes, or LARGEST for books, so that a book is not divided. Raises DataError if the
    file is damaged, or if a line or article is too long for memory.
    """
    least = plan.LARGEST if kind == "book" else plan.SMALLEST
    with open_text(file.path, file.name) as raw:
        block: list[bytes] = []
        size = number = 0
        while line := raw.readline(plan.LARGEST):
            number += 1
            if len(line) == plan.LARGEST and not line.endswith(b"\n"):
                raise plan.too_long(file, number)
            if size >= least and _begins_block(kind, block[-1], line, size - least):
                yield _joined(block)
                size = 0
            elif size > least + plan.LARGEST:
                raise plan.unclosed_article(file, number)
            block.append(line)
            size += len(line)
        if block:
            yield _joined(block)


def _begins_block(kind: str, before: bytes, line: bytes, above: int) -> bool:
    """Return whether a block may begin with `line`; `above` is the last block's size minus the minimum, in bytes."""
    if kind == "wiki":
        return line.startswith(b"<doc ")
    return kind == "json" or not before.strip() or above > plan.LARGEST


def _joined(block: list[bytes]) -> bytes:
    """Return the joined lines and empty `block`, so that its lines do not stay in memory."""
    joined = b"".join(block)
    block.clear()
    return joined


def _decoded_lines(span: plan.Span, raw: bytes, done: int) -> list[str]:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        number = _line_number(span, done, raw.count(b"\n", 0, error.start))
        raise DataError(f"{undecodable(span.file.name, number, raw, error)} or leave it out.") from None
    return text.replace("\r\n", "\n").split("\n")


def _place(span: plan.Span, done: int, i: int) -> str:
    return f"{span.file.name} line {_line_number(span, done, i)}"


def _line_number(span: plan.Span, done: int, i: int) -> int:
    """Return the number, from 1, of line i after `done` lines of a span. Counts lines only here, for errors."""
    return plan.lines_before(span.file, span.start) + done + i + 1
