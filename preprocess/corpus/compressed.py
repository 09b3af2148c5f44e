"""Reads a compressed file, which cannot be divided, as a stream of blocks of text."""

from collections.abc import Iterator

from ..file_types import open_text
from . import plan
from .inputs import File


def blocks(file: File, kind: str) -> Iterator[bytes]:
    """Yield the decompressed bytes of `file` in blocks that begin and end between documents.

    A block has SMALLEST bytes or more, of books LARGEST, so that a book is whole. Raises DataError where the file is
    damaged, or a line or article is too long to be held.
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
    """Whether a block may begin with `line`; `above` are the bytes that the last block has more than it needs."""
    if kind == "wiki":
        return line.startswith(b"<doc ")
    return kind == "json" or not before.strip() or above > plan.LARGEST


def _joined(block: list[bytes]) -> bytes:
    """Empties `block`, so that its lines are not held beside the result."""
    whole = b"".join(block)
    block.clear()
    return whole
