"""Divides the corpus into pieces, which any process on any machine can encode.

The division depends only on the files. A piece has one or more spans. A span is a whole file, or a part of a file
that begins and ends between documents. A compressed file is always one span; sizes are those on the disk.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from io import BufferedReader
from itertools import pairwise

from ..encoders import Encoder
from ..errors import DataError
from .input_files import File, Source

FORMAT = 1
CLEANED = {
    "wiki": "wiki 2"
}  # kinds whose cleaning has changed since the first version, with a version number
MIB = 1 << 20
SMALLEST, LARGEST = MIB, 16 * MIB  # bytes of a piece; a document longer than LARGEST is divided
PIECES = 512  # desired minimum number of pieces: the units of parallel work and of resuming


@dataclass(frozen=True)
class Options:
    """Settings that determine the result."""

    shards: int = 1
    valid_share: float = 0.01
    test_share: float = 0.0
    longest: int = 127
    seed: int = 1


@dataclass(frozen=True)
class Span:
    """Bytes `start` to `stop` of a file."""

    file: File
    start: int
    stop: int


@dataclass(frozen=True)
class Piece:
    """Spans of one source that are encoded together."""

    number: int
    source: int
    kind: str
    spans: tuple[Span, ...]

    @property
    def size(self) -> int:
        """Return the bytes on the disk."""
        return sum(span.stop - span.start for span in self.spans)

    @property
    def stamp(self) -> str:
        """Return a hash that changes when a file is modified."""
        parts = [(span.file.name, span.file.modified, span.start, span.stop) for span in self.spans]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def cut(sources: list[Source]) -> list[Piece]:
    """Return all pieces, in the order of the documents in the result."""
    step = min(max(sum(source.size for source in sources) // PIECES, SMALLEST), LARGEST)
    pieces: list[Piece] = []
    for number, source in enumerate(sources):
        group: list[Span] = []
        remaining = step
        for file in source.files:
            for span in _spans(file, source.kind, step):
                group.append(span)
                remaining -= span.stop - span.start
                if remaining <= 0:
                    pieces.append(Piece(len(pieces), number, source.kind, tuple(group)))
                    group, remaining = [], step
        if group:
            pieces.append(Piece(len(pieces), number, source.kind, tuple(group)))
    return pieces


def inputs_hash(sources: list[Source], encoder: Encoder, options: Options) -> str:
    """Return a hash of everything that determines the result, with file names and sizes instead of contents."""
    inputs = {
        "format": FORMAT,
        "encoder": encoder.hash,
        "options": asdict(options),
        "cut": [SMALLEST, LARGEST, PIECES],
        "sources": [
            (CLEANED.get(source.kind, source.kind), [(file.name, file.size) for file in source.files])
            for source in sources
        ],
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def digest(parts: Iterable[str]) -> str:
    """Return one hash of the hashes of all pieces, in order."""
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _spans(file: File, kind: str, step: int) -> list[Span]:
    step = LARGEST if kind == "book" else step  # a book is one document
    if file.size <= step or file.compressed:
        return [Span(file, 0, file.size)]
    return [Span(file, start, stop) for start, stop in pairwise([0, *_cuts(file, kind, step), file.size])]


def _cuts(file: File, kind: str, step: int) -> Iterator[int]:
    """Yield the cut offsets: before the first document at least `step` bytes after the last cut."""
    with file.path.open("rb") as raw:
        at = step
        while at < file.size:
            at = _boundary(raw, at, file, kind)
            if at >= file.size:
                return
            yield at
            at += step


def _boundary(raw: BufferedReader, start: int, file: File, kind: str) -> int:
    raw.seek(start - 1)
    position = start - 1 + len(_line(raw, file))  # do not cut the line at `start`
    if kind == "json":  # each line is a document
        return position
    while position < file.size:
        line = _line(raw, file)
        if kind == "wiki" and line.startswith(b"<doc "):
            return position
        position += len(line)
        if kind != "wiki" and (not line.strip() or position > start + LARGEST):
            return position
        if position > start + LARGEST:
            raise unclosed_article(file, _line_number(file, position))
    return position


def _line(raw: BufferedReader, file: File) -> bytes:
    line = raw.readline(LARGEST)
    if len(line) == LARGEST and not line.endswith(b"\n"):
        raise too_long(file, _line_number(file, raw.tell()))
    return line


def too_long(file: File, number: int) -> DataError:
    """Return the error for a line that is too long for memory."""
    return DataError(f"{file.name} line {number} is longer than {LARGEST // MIB} MiB: is it a text file?")


def unclosed_article(file: File, number: int) -> DataError:
    """Return the error for an article that is too long for memory; `number` is one of its lines."""
    return DataError(
        f"{file.name} line {number} is in an article above {LARGEST // MIB} MiB: add its </doc>."
    )


def _line_number(file: File, position: int) -> int:
    """Return the number of the line that ends at or after `position`, counted from 1."""
    return lines_before(file, position - 1) + 1


def lines_before(file: File, position: int) -> int:
    """Return the number of line ends in the first `position` bytes; only used for errors."""
    count = 0
    with file.path.open("rb") as raw:
        while position > 0:
            chunk = raw.read(min(position, MIB))
            if not chunk:
                break
            count += chunk.count(b"\n")
            position -= len(chunk)
    return count
