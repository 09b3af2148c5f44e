"""Reads a compressed file, which cannot be divided, as a stream of text blocks."""

from collections.abc import Iterator

from ..file_types import open_text
from . import plan
from .inputs import File


def blocks(file: File, kind: str) -> Iterator[bytes]:
    """Yield the decompressed bytes of `file` in blocks of whole documents.

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
    whole = b"".join(block)
    block.clear()
    return whole
