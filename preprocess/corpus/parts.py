"""Manages DATA.parts, the temporary folder with the finished pieces and all files needed to join them.

plan.json  dict.txt  word_starts.txt  000000.piece  000001.piece ...
"""

import json
import os
import shutil
import socket
from dataclasses import asdict
from pathlib import Path

from ..encoders import Encoder
from ..errors import DataError
from ..vocabulary import symbols_hash, write_dictionary
from .inputs import Source
from .pieces import piece_path, read_head, sync, token_type
from .plan import FORMAT, Options, Piece, inputs_hash
from .up_to_date import changes

PLAN = "plan.json"


class Parts:
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


def parts_folder(out: Path) -> Path:
    """Return `<out>.parts`."""
    return out.with_name(f"{out.name}.parts")


def open_parts(
    out: Path, sources: list[Source], pieces: list[Piece], encoder: Encoder, options: Options
) -> Parts:
    """Open or create the folder of parts for `out`. Raises DataError if it was made with other settings."""
    folder = parts_folder(out)
    plan = _plan(sources, pieces, encoder, options)
    found = _read_plan(folder)
    if found is not None:
        if found != plan:
            raise DataError(
                f"--out: the pieces in {folder} were made with other settings ({changes(found, encoder, options)}): remove "
                "the folder, or choose another --out."
            )
        return Parts(folder, plan)

    folder.mkdir(parents=True, exist_ok=True)
    mark = f"{socket.gethostname()}.{os.getpid()}.tmp"  # parts may start at the same time on several machines
    _put(folder / "dict.txt", mark, lambda path: _write_dictionary(path, encoder))
    starts = "".join(f"{int(start)}\n" for start in encoder.word_starts())
    _put(folder / "word_starts.txt", mark, lambda path: path.write_text(starts, encoding="utf-8"))
    text = json.dumps(plan, indent=2, ensure_ascii=False) + "\n"
    _put(folder / PLAN, mark, lambda path: path.write_text(text, encoding="utf-8"))
    return Parts(folder, plan)


def find_parts(out: Path) -> Parts:
    """Open the folder of parts that runs with --part created for `out`. Raises DataError if it is missing."""
    folder = parts_folder(out)
    plan = _read_plan(folder)
    if plan is None:
        raise DataError(f"--merge {out}: {folder} with the parts to join is missing: run with --part first.")
    return Parts(folder, plan)


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


def _write_dictionary(path: Path, encoder: Encoder) -> None:
    if encoder.dictionary is not None:
        shutil.copyfile(encoder.dictionary, path)
    else:
        write_dictionary(path, encoder.symbols)


def _put(path: Path, mark: str, write) -> None:
    temporary = path.with_name(f".{path.name}.{mark}")
    try:
        write(temporary)
        with temporary.open("r+b") as file:
            sync(file)
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}: fix that and run again.") from None
    finally:
        temporary.unlink(missing_ok=True)
