"""Checks whether an existing corpus was made from the current files, encoder and options.

Its meta.json has three hashes: of file names and sizes (`made_from`), of file modification times as well (`stamps`),
and of the file contents (`hash`). Contents are only compared if the stamps differ, for example after a copy.
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
from .plan import Options, cut, digest, inputs_hash
from .reading import read_hash


def check_same(out: Path, sources: list[Source], encoder: Encoder, options: Options) -> None:
    """Raise DataError if the corpus in `out` was made from other files, another encoder or other options."""
    found = read(out) or {}
    if found.get("made_from") != inputs_hash(sources, encoder, options):
        raise DataError(
            f"--out: {out} was made with other settings ({changes(found, encoder, options)}): remove it, or choose another "
            "--out."
        )

    pieces = cut(sources)
    if found.get("stamps") == digest(piece.stamp for piece in pieces):
        return
    print(f"{out}: input files may have changed; comparing their contents.", file=sys.stderr)
    for number, (source, noted) in enumerate(zip(sources, found["sources"], strict=True)):
        if digest(read_hash(piece) for piece in pieces if piece.source == number) != noted["hash"]:
            raise DataError(
                f"--out: {out} was made from other text in {source.name}: remove it, or choose another --out."
            )


def changes(found: Mapping[str, Any], encoder: Encoder, options: Options) -> str:
    """Return which settings of a corpus, or of its pieces, differ from the current ones."""
    found_changes = differences(found, encoder, asdict(options))
    return found_changes or "other input files, or a version that cleaned text differently"
