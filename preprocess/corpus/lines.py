"""The clean text itself, for what is trained on it or compared with it."""

import hashlib
from collections.abc import Iterator, Sequence

from .inputs import find_sources
from .plan import cut
from .reading import read_documents
from .sentences import sentences


def clean_lines(inputs: Sequence[str]) -> Iterator[str]:
    """Sentences of `--input`s, one a line, an empty one after each document.

    Raises DataError where there is no text, or it cannot be read or would be twice.
    """
    for piece in cut(find_sources(inputs)):
        for document in filter(None, read_documents(piece, hashlib.sha256())):
            for paragraph in document:
                yield from (sentence.strip() for sentence in sentences(paragraph))
            yield ""
