"""Joins all pieces into fairseq shards by copying, with little memory.

DATA is written in DATA.parts and then renamed:

DATA                       one shard:       dict.txt word_starts.txt meta.json {train,valid,test}.{bin,idx}
DATA/shard0, DATA/shard1   several shards:  the same files in each; valid and test are hard links
"""

import json
import os
import shutil
import struct
from array import array
from pathlib import Path
from typing import BinaryIO

from ..atomic_folder import sync
from ..errors import DataError
from ..indexed import MAGIC, NARROW, WIDE
from .encode_pieces import COUNTED, piece_path
from .pieces_folder import PiecesFolder
from .plan_pieces import digest

CHUNK = 1 << 20  # bytes or rows processed at once


class _Split:
    """Writes `<prefix>.bin` and `<prefix>.idx` (see `indexed.py`) piece by piece."""

    def __init__(self, prefix: Path, type_: str) -> None:
        self._bin, self._idx = Path(f"{prefix}.bin"), Path(f"{prefix}.idx")
        self._type = type_
        self.counts = dict.fromkeys(COUNTED, 0)
        self._bin.touch()
        self._idx.write_bytes(self._head())

    def add(self, piece: BinaryIO, section: dict) -> None:
        """Append a section; `piece` is the open file of its piece, at the start of the section."""
        with self._idx.open("ab") as idx:
            _copy(piece, idx, section["rows"] * 4)
        with self._bin.open("ab") as tokens:
            _copy(piece, tokens, section["tokens"] * array(self._type).itemsize)
        for name in COUNTED:
            self.counts[name] += section[name]

    def finish(self) -> None:
        """Write the number of rows to the header of .idx, and the row offsets after the row sizes."""
        width, offset = array(self._type).itemsize, 0
        head = self._head()
        with self._idx.open("rb") as sizes, self._idx.open("r+b") as idx:
            idx.write(head)
            sizes.seek(len(head))
            idx.seek(0, os.SEEK_END)
            left = self.counts["rows"]
            while left:
                rows = array("i")
                rows.fromfile(sizes, min(left, CHUNK))
                offsets = array("q")
                for size in rows:
                    offsets.append(offset)
                    offset += size * width
                offsets.tofile(idx)
                left -= len(rows)

    def _head(self) -> bytes:
        code = dict([NARROW, WIDE])[self._type]
        return MAGIC + struct.pack("<QBQ", 1, code, self.counts["rows"])


def join(parts: PiecesFolder, out: Path) -> dict:
    """Join all pieces to `out`, delete the pieces and return meta.json.

    Raises DataError if pieces are missing or damaged, or if writing fails.
    """
    bad = [number for number in range(parts.pieces) if parts.head(number) is None]
    if bad:
        raise DataError(
            f"{parts.folder}: {len(bad)} of {parts.pieces} pieces are missing or damaged "
            f"({piece_path(parts.folder, bad[0]).name} is the first): run their parts again, or copy them here again."
        )
    if out.exists():
        raise DataError(f"--out: {out} already exists: move it away.")

    folder = parts.folder / "joined"
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    try:
        folder.mkdir()
        meta = _write(parts, folder)
        for file in filter(Path.is_file, folder.rglob("*")):  # before the pieces are deleted
            with file.open("r+b") as written:
                sync(written)
        folder.rename(out)
    except OSError as error:
        raise DataError(
            f"{error.filename2 or error.filename or folder}: {error.strerror}; the pieces in {parts.folder} are "
            "kept: fix that and run again (joining needs as much disk space again as the pieces)."
        ) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(parts.folder, ignore_errors=True)
    return meta


def shard_folders(out: Path, shards: int) -> list[Path]:
    """Return the folder of each shard; `out` itself for one shard."""
    return [out] if shards == 1 else [out / f"shard{i}" for i in range(shards)]


def _write(parts: PiecesFolder, folder: Path) -> dict:
    options = parts.plan["options"]
    folders = shard_folders(folder, options["shards"])
    for shard in folders:
        shard.mkdir(exist_ok=True)
    splits = {("train", i): _Split(shard / "train", parts.plan["type"]) for i, shard in enumerate(folders)}
    for name in ("valid", "test"):
        if options[f"{name}_share"]:
            splits[name, 0] = _Split(folders[0] / name, parts.plan["type"])

    sources, stamps = _copy_sections(parts, splits)
    for split in splits.values():
        split.finish()

    train = [splits["train", i].counts for i in range(len(folders))]
    meta = {
        name: parts.plan[name] for name in ("format", "encoder", "dictionary_hash", "options", "made_from")
    }
    meta["stamps"] = stamps
    meta["sources"] = sources
    meta["splits"] = {"train": {name: sum(shard[name] for shard in train) for name in COUNTED}}
    meta["splits"] |= {name: split.counts for (name, _), split in splits.items() if name != "train"}
    meta["shards"] = train
    (folder / "meta.json").write_text(json.dumps(meta, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    for name in ("dict.txt", "word_starts.txt"):
        shutil.copyfile(parts.folder / name, folders[0] / name)
    _link_common_files(folder, folders, ["valid", "test"])
    return meta


def _copy_sections(parts: PiecesFolder, splits: dict[tuple[str, int], _Split]) -> tuple[list[dict], str]:
    """Copy all sections; return the sources with their counts and hashes, and the stamp of all pieces."""
    sources = [source | {"documents": 0, "empty": 0, "dropped": 0} for source in parts.plan["sources"]]
    hashes: list[list[str]] = [[] for _ in sources]
    stamps = []
    for number in range(parts.pieces):
        path = piece_path(parts.folder, number)
        head = parts.head(number)
        with path.open("rb") as piece:
            piece.readline()
            for section in head["sections"]:
                splits[section["split"], section["shard"]].add(piece, section)
        source = sources[head["source"]]
        source["documents"] += sum(section["documents"] for section in head["sections"])
        source["empty"] += head["empty"]
        source["dropped"] += head["dropped"]
        hashes[head["source"]].append(head["sha256"])
        stamps.append(head["stamp"])
    sources = [source | {"hash": digest(found)} for source, found in zip(sources, hashes, strict=True)]
    return sources, digest(stamps)


def _link_common_files(folder: Path, folders: list[Path], names: list[str]) -> None:
    """Link the common files of the first shard into all shards, so that each is a complete data folder."""
    for shard in folders:
        if shard != folder:
            _link(folder / "meta.json", shard / "meta.json")
    common = [folders[0] / f"{name}.{end}" for name in names for end in ("bin", "idx")]
    common += [folders[0] / "dict.txt", folders[0] / "word_starts.txt"]
    for shard in folders[1:]:
        for file in filter(Path.is_file, common):
            _link(file, shard / file.name)


def _link(file: Path, name: Path) -> None:
    try:
        os.link(file, name)
    except OSError:  # a file system without hard links
        shutil.copyfile(file, name)


def _copy(source: BinaryIO, target: BinaryIO, size: int) -> None:
    while size:
        chunk = source.read(min(size, CHUNK))
        if not chunk:
            raise DataError(f"{source.name} became shorter during reading: run again.")
        target.write(chunk)
        size -= len(chunk)
