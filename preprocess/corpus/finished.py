"""Whether a corpus that is there was made of the files, the encoder and the options given now.

Its meta.json holds a fingerprint, which knows of the files their names and sizes; stamps, which also know when they were
changed; and a hash of what they held, which is asked where the stamps are others: after a copy, say.
"""

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..encoders import Encoder
from ..errors import DataError
from ..meta import differences, read
from .inputs import Source
from .plan import Options, cut, digest, fingerprint
from .reading import read_hash


def check_same(out: Path, sources: list[Source], encoder: Encoder, options: Options) -> None:
    """Raises DataError where it was made of anything else."""
    found = read(out) or {}
    if found.get("made_from") != fingerprint(sources, encoder, options):
        raise DataError(
            f"--out: {out} exists and was made otherwise ({otherwise(found, encoder, options)}): remove it, or choose "
            "another --out."
        )

    pieces = cut(sources)
    if found.get("stamps") == digest(piece.stamp for piece in pieces):
        return
    print(f"{out}: its files may have been changed since; comparing their text.", file=sys.stderr)
    for number, (source, noted) in enumerate(zip(sources, found["sources"], strict=True)):
        if digest(read_hash(piece) for piece in pieces if piece.source == number) != noted["hash"]:
            raise DataError(
                f"--out: {out} was made when {source.name} held other text: remove it, or choose another --out."
            )


def otherwise(found: Mapping[str, Any], encoder: Encoder, options: Options) -> str:
    """In what a corpus, or the pieces of one, was made otherwise."""
    told = differences(found, encoder, asdict(options))
    return told or "from other files, or by a version that cleaned text otherwise"
