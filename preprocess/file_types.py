"""Opens text files, compressed or not, and detects files that are not text by their first bytes."""

import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from .errors import DataError

HEAD = 512  # bytes that show the type of a file
COMPRESSED: dict[str, tuple[re.Pattern[bytes], Callable[..., Any]]] = {
    "gzip": (re.compile(rb"\x1f\x8b"), gzip.open),
    "bzip2": (re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"), bz2.open),
    "xz": (re.compile(rb"\xfd7zXZ\x00"), lzma.open),
}
ENDINGS = (".gz", ".bz2", ".xz")  # file name suffixes of these programs
OTHERS = {
    rb"<mediawiki[ >]": "a dump of MediaWiki: run WikiExtractor on it and give the result",
    rb"\xff\xfe|\xfe\xff": "UTF-16 text: convert it (iconv -f utf-16 -t utf-8)",
    # zstd, zip, 7z, rar, tar; PDF and Microsoft Office; parquet, arrow and SQLite; PNG and JPEG
    rb"\x28\xb5\x2f\xfd|PK\x03\x04|7z\xbc\xaf\x27\x1c|Rar!\x1a\x07|(?s:.{257})ustar(?:\x00| {1,2}\x00)"
    rb"|%PDF-\d|\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1|PAR1[\x00-\x1f]|ARROW1\x00|SQLite format 3\x00"
    rb"|\x89PNG|\xff\xd8\xff": "an archive or another binary file: unpack it, or give its text",
}


def compression(head: bytes) -> str | None:
    """Return the program that compressed a file with these first bytes (gzip, bzip2, xz), or None."""
    return next((name for name, (begins, _) in COMPRESSED.items() if begins.match(head)), None)


def not_text(head: bytes) -> str | None:
    """Return type and fix for a binary file with these first bytes; None if it may be text."""
    return next((what for begins, what in OTHERS.items() if re.match(begins, head)), None)


def undecodable(name: str, line: int, raw: bytes, error: UnicodeDecodeError) -> str:
    """Return problem and fix for a file that is not UTF-8, without a full stop.

    name  name of the file in errors
    line  number of the line with the invalid byte
    raw   the bytes that were decoded, from any position of the file
    """
    if program := compression(raw):
        return f"{name} is compressed by {program}: decompress it"
    if what := not_text(raw):
        return f"{name} is {what}"
    if b"\0" in raw:
        return f"{name} is a binary file, line {line} is not text: give a text file"
    return f"{name} line {line} is not UTF-8 (byte {raw[error.start]:#04x}): convert it (iconv -t utf-8)"


def read_head(path: Path) -> bytes:
    """Return the first HEAD bytes of a file, not decompressed."""
    with path.open("rb") as file:
        return file.read(HEAD)


@contextmanager
def open_text(path: Path, name: str) -> Iterator[BinaryIO]:
    """Open a file and decompress it if needed. Raises DataError if it is damaged or not text.

    name  name of the file in errors
    """
    program = compression(read_head(path))
    opened: Callable[..., Any] = COMPRESSED[program][1] if program else open
    try:
        with opened(path, "rb") as file:
            if what := not_text(file.peek(HEAD)[:HEAD]):
                raise DataError(f"{name} is {what}.")
            yield file
    except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(f"{name} is damaged or incomplete ({error}): download it again.") from None
