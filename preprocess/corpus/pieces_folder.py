"""The folder DATA.parts: finished pieces and all files needed to join them; and whether DATA is up to date.

plan.json  dict.txt  word_starts.txt  000000.piece  000001.piece ...

meta.json of DATA has three hashes: of file names and sizes (`made_from`), of file modification times as well
(`stamps`), and of the file contents (`hash`). Contents are only compared if the stamps differ, for example after a
copy.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..atomic_folder import atomic_file
from ..encoders import Encoder
from ..errors import DataError
from ..meta import differences, read
from ..vocabulary import dictionary_text, symbols_hash
from .encode_pieces import piece_path, read_head, token_type
from .input_files import Source
from .plan_pieces import FORMAT, Options, Piece, cut, digest, inputs_hash
from .read_pieces import read_hash

PLAN = "plan.json"


class PiecesFolder:
    """The folder DATA.parts and its plan, which is the same for all parts of a run."""

    def __init__(self, folder: Path, plan: dict) -> None:
        self.folder = folder
        self.plan = plan
        self.pieces: int = plan["pieces"]

    def done(self, pieces: list[Piece]) -> list[Piece]:
        """Return the pieces that are already encoded and up to date."""
        heads = ((piece, self.head(piece.number)) for piece in pieces)
        return [piece for piece, head in heads if head and head["stamp"] == piece.stamp]

    def head(self, number: int) -> dict | None:
        """Return the header of a piece's file; None if the file is missing or damaged."""
        return read_head(piece_path(self.folder, number), self.plan["type"])


def folder_of(out: Path) -> Path:
    """Return `<out>.parts`."""
    return out.with_name(f"{out.name}.parts")


def open_folder(
    out: Path, sources: list[Source], pieces: list[Piece], encoder: Encoder, options: Options
) -> PiecesFolder:
    """Open or create the folder of parts for `out`. Raises DataError if it was made with other settings."""
    folder = folder_of(out)
    plan = _plan(sources, pieces, encoder, options)
    found = _read_plan(folder)
    if found is not None:
        if found != plan:
            raise DataError(
                f"--out: the pieces in {folder} were made with other settings ({changes(found, encoder, options)}): remove "
                "the folder, or choose another --out."
            )
        return PiecesFolder(folder, plan)

    folder.mkdir(parents=True, exist_ok=True)
    starts = "".join(f"{int(start)}\n" for start in encoder.word_starts())
    if encoder.dictionary is not None:
        dictionary = encoder.dictionary.read_bytes()
    else:
        dictionary = dictionary_text(encoder.symbols).encode()
    text = json.dumps(plan, indent=2, ensure_ascii=False) + "\n"
    # The plan comes last. Parts may start at the same time on several machines.
    for name, content in (
        ("dict.txt", dictionary),
        ("word_starts.txt", starts.encode()),
        (PLAN, text.encode()),
    ):
        with atomic_file(folder / name) as file:
            file.write(content)
    return PiecesFolder(folder, plan)


def find_folder(out: Path) -> PiecesFolder:
    """Open the folder of parts that runs with --part created for `out`. Raises DataError if it is missing."""
    folder = folder_of(out)
    plan = _read_plan(folder)
    if plan is None:
        raise DataError(f"--merge {out}: {folder} with the parts to join is missing: run with --part first.")
    return PiecesFolder(folder, plan)


def _plan(sources: list[Source], pieces: list[Piece], encoder: Encoder, options: Options) -> dict:
    return {
        "format": FORMAT,
        "made_from": inputs_hash(sources, encoder, options),
        "pieces": len(pieces),
        "type": token_type(encoder),
        "encoder": {
            "name": encoder.name,
            "lowercase": encoder.lowercase,
            "pair_format": encoder.pair_format,
            "hash": encoder.hash,
        },
        "dictionary_hash": symbols_hash(encoder.symbols),
        "options": asdict(options),
        "sources": [
            {"name": source.name, "kind": source.kind, "files": len(source.files), "bytes": source.size}
            for source in sources
        ],
    }


def _read_plan(folder: Path) -> dict | None:
    try:
        return json.loads((folder / PLAN).read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        raise DataError(f"{folder / PLAN} is damaged: remove {folder} and run again.") from None


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
            raise DataError(f"--out: {out} was made from other text in {source.name}: remove or rename it.")


def changes(found: Mapping[str, Any], encoder: Encoder, options: Options) -> str:
    """Return which settings of a corpus, or of its pieces, differ from the current ones."""
    found_changes = differences(found, encoder, asdict(options))
    return found_changes or "other input files, or a version that cleaned text differently"
