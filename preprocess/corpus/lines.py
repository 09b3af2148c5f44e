"""The clean text itself, for what is trained on it or compared with it."""

import hashlib
from collections.abc import Iterable, Iterator

from .inputs import find_source
from .pieces import read_documents
from .plan import cut
from .sentences import sentences


def clean_lines(inputs: Iterable[str]) -> Iterator[str]:
    """Sentences of `--input`s, one a line, an empty one after each document.

    Raises DataError where there is no text, or it cannot be read.
    """
    for piece in cut([find_source(given) for given in inputs]):
        for document in filter(None, read_documents(piece, hashlib.sha256())):
            for paragraph in document:
                yield from (sentence.strip() for sentence in sentences(paragraph))
            yield ""
