"""DATA.parts, beside DATA until that is made: the pieces that are done and all that joining them needs.

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
from .finished import otherwise
from .inputs import Source
from .pieces import piece_path, read_head, sync, token_type
from .plan import FORMAT, Options, Piece, fingerprint

PLAN = "plan.json"


class Parts:
    """The folder and its plan, which every part of a run agrees on."""

    def __init__(self, folder: Path, plan: dict) -> None:
        self.folder = folder
        self.plan = plan
        self.pieces: int = plan["pieces"]

    def done(self, pieces: list[Piece]) -> list[Piece]:
        """Those that need not be encoded again."""
        heads = ((piece, self.head(piece.number)) for piece in pieces)
        return [piece for piece, head in heads if head and head["stamp"] == piece.stamp]

    def head(self, number: int) -> dict | None:
        """What the file of a piece says of itself; None where there is none or it is damaged."""
        return read_head(piece_path(self.folder, number), self.plan["type"])


def parts_folder(out: Path) -> Path:
    return out.with_name(f"{out.name}.parts")


def open_parts(
    out: Path, sources: list[Source], pieces: list[Piece], encoder: Encoder, options: Options
) -> Parts:
    """The folder for `out`, made where it is not there yet; raises DataError where it is another run's."""
    folder = parts_folder(out)
    plan = _plan(sources, pieces, encoder, options)
    found = _read_plan(folder)
    if found is not None:
        if found != plan:
            raise DataError(
                f"--out: {folder} holds pieces that were made otherwise ({otherwise(found, encoder, options)}): remove it, "
                "or choose another --out."
            )
        return Parts(folder, plan)

    folder.mkdir(parents=True, exist_ok=True)
    mark = f"{socket.gethostname()}.{os.getpid()}.tmp"  # parts may begin at once, on several machines
    _put(folder / "dict.txt", mark, lambda path: _write_dictionary(path, encoder))
    starts = "".join(f"{int(start)}\n" for start in encoder.word_starts())
    _put(folder / "word_starts.txt", mark, lambda path: path.write_text(starts, encoding="utf-8"))
    text = json.dumps(plan, indent=2, ensure_ascii=False) + "\n"
    _put(folder / PLAN, mark, lambda path: path.write_text(text, encoding="utf-8"))
    return Parts(folder, plan)


def find_parts(out: Path) -> Parts:
    """The folder that earlier runs with --part made for `out`."""
    folder = parts_folder(out)
    plan = _read_plan(folder)
    if plan is None:
        raise DataError(f"--merge {out}: there is no {folder} with parts to join: run with --part first.")
    return Parts(folder, plan)


def _plan(sources: list[Source], pieces: list[Piece], encoder: Encoder, options: Options) -> dict:
    return {
        "format": FORMAT,
        "made_from": fingerprint(sources, encoder, options),
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
        raise DataError(f"{path}: {error.strerror}: run again when that is put right.") from None
    finally:
        temporary.unlink(missing_ok=True)
