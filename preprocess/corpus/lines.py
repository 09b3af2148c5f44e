"""Yields the clean text as lines, for tokenizer training and for comparisons."""

import hashlib
from collections.abc import Iterator, Sequence

from .inputs import find_sources
from .plan import cut
from .reading import read_documents
from .sentences import sentences


def clean_lines(inputs: Sequence[str]) -> Iterator[str]:
    """Yield the sentences of `--input`s, and an empty line after each document.

    Raises DataError if there is no text, if it cannot be read, or if a file would be read twice.
    """
    for piece in cut(find_sources(inputs)):
        for document in filter(None, read_documents(piece, hashlib.sha256())):
            for paragraph in document:
                yield from (sentence.strip() for sentence in sentences(paragraph))
            yield ""
