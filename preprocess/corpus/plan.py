"""The corpus cut into pieces, which are encoded one by one, by any process on any machine.

How it is cut depends on the files alone. A piece is one or more spans: whole files, or a part of one
that begins and ends between documents. A compressed file is always one span, and sizes are those on the disk.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from io import BufferedReader
from itertools import pairwise

from ..encoders import Encoder
from ..errors import DataError
from .inputs import File, Source

FORMAT = 1
CLEANED = {"wiki": "wiki 2"}  # kinds whose text comes out otherwise than when they first were cleaned
MIB = 1 << 20
SMALLEST, LARGEST = MIB, 16 * MIB  # of a piece; a document that is longer than LARGEST is cut
PIECES = 512  # as many as there should be at least: they are what is shared out and kept


@dataclass(frozen=True)
class Options:
    """What else decides the result."""

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
        return sum(span.stop - span.start for span in self.spans)

    @property
    def stamp(self) -> str:
        """Another one where a file was changed since."""
        parts = [(span.file.name, span.file.modified, span.start, span.stop) for span in self.spans]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def cut(sources: list[Source]) -> list[Piece]:
    """All pieces, in the order in which their documents stand in the result."""
    step = min(max(sum(source.size for source in sources) // PIECES, SMALLEST), LARGEST)
    pieces: list[Piece] = []
    for number, source in enumerate(sources):
        group: list[Span] = []
        room = step
        for file in source.files:
            for span in _spans(file, source.kind, step):
                group.append(span)
                room -= span.stop - span.start
                if room <= 0:
                    pieces.append(Piece(len(pieces), number, source.kind, tuple(group)))
                    group, room = [], step
        if group:
            pieces.append(Piece(len(pieces), number, source.kind, tuple(group)))
    return pieces


def fingerprint(sources: list[Source], encoder: Encoder, options: Options) -> str:
    """One hash over all that decides the result, file names and sizes in place of their content."""
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
    """One hash over those of all pieces, in their order."""
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _spans(file: File, kind: str, step: int) -> list[Span]:
    step = LARGEST if kind == "book" else step  # a book is one document
    if file.size <= step or file.compressed:
        return [Span(file, 0, file.size)]
    return [Span(file, start, stop) for start, stop in pairwise([0, *_cuts(file, kind, step), file.size])]


def _cuts(file: File, kind: str, step: int) -> Iterator[int]:
    """Where the file is cut: before the first document that begins `step` bytes or more after the last cut."""
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
    position = start - 1 + len(_line(raw, file))  # the line that `start` stands in is not cut
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
    """The error for a line that is too long to be held."""
    return DataError(f"{file.name} line {number} is longer than {LARGEST // MIB} MiB: is it a text file?")


def unclosed_article(file: File, number: int) -> DataError:
    """The error for an article that is too long to be held and contains this line."""
    return DataError(
        f"{file.name} line {number} is in an article of more than {LARGEST // MIB} MiB: is a </doc> missing?"
    )


def _line_number(file: File, position: int) -> int:
    """The number of the line that ends at or after `position`, from 1."""
    return lines_before(file, position - 1) + 1


def lines_before(file: File, position: int) -> int:
    """Line ends in the first `position` bytes; read in parts, for an error's sake alone."""
    count = 0
    with file.path.open("rb") as raw:
        while position > 0:
            chunk = raw.read(min(position, MIB))
            if not chunk:
                break
            count += chunk.count(b"\n")
            position -= len(chunk)
    return count
