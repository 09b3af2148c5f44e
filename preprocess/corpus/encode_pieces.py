"""Encodes one piece: reads and cleans its text, splits it by document and writes a file for joining.

The file has a header line of JSON, then for each section the row sizes (i32) and the tokens (u16 or u32, as in
fairseq's .bin). A row is a sentence with its </s>; a row with only </s> ends each document. A section has the rows of
this piece for one split, or for one shard of train.
"""

import hashlib
import json
import os
import shutil
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import BinaryIO

from ..atomic_folder import atomic_file
from ..encoders import FIRST, Encoder
from ..errors import DataError
from ..indexed import NARROW, WIDE
from ..vocabulary import EOS, SPECIALS
from .plan_pieces import Options, Piece
from .read_pieces import read_documents
from .split_sentences import sentences

# Characters encoded at once. The Rust library needs hundreds of times their size.
BATCH = 1 << 18
IN_MEMORY = 1 << 25  # maximum bytes of all sections in memory
HEAD = {"source", "stamp", "sha256", "empty", "dropped", "sections"}  # required keys of the header
COUNTED = ("documents", "lines", "cut", "rows", "tokens")  # counts of a section
DIGEST = 8  # bytes of each of the two random numbers of a document


class Section:
    """Rows for one split or shard, in temporary files; `cut` counts split sentences."""

    def __init__(self, type_: str, folder: Path, in_memory: int) -> None:
        self.documents = self.lines = self.cut = self.rows = self.tokens = 0
        self._buffers = array("i"), array(type_)  # row sizes, tokens
        # In memory up to this number of bytes, which only a large compressed file exceeds.
        limit = in_memory // len(self._buffers)
        self._files = tuple(SpooledTemporaryFile(limit, dir=str(folder)) for _ in self._buffers)  # noqa: SIM115

    def add(self, row: list[int]) -> None:
        """Append a row."""
        sizes, tokens = self._buffers
        sizes.append(len(row))
        tokens.extend(row)
        self.rows += 1
        self.tokens += len(row)

    def flush(self) -> None:
        """Move new rows to the temporary files."""
        for new, file in zip(self._buffers, self._files, strict=True):
            file.write(new.tobytes())
            del new[:]

    def write(self, target: BinaryIO) -> None:
        """Write the sizes of all rows, then their tokens."""
        self.flush()
        for file in self._files:
            file.seek(0)
            shutil.copyfileobj(file, target)
            file.close()


class PieceEncoder:
    """Encodes pieces to files; stateless, so any process can encode any piece."""

    def __init__(self, encoder: Encoder, options: Options, folder: Path) -> None:
        self._encoder = encoder
        self._options = options
        self._folder = folder
        self._type = token_type(encoder)
        self._in_memory = IN_MEMORY // (options.shards + 2)  # train's shards, valid and test
        self._word_starts = bytes([True] * FIRST + encoder.word_starts())

    def __call__(self, piece: Piece) -> int:
        """Write the piece's file and return the size of its text in bytes."""
        self._encode_piece(piece)
        return piece.size

    def _encode_piece(self, piece: Piece) -> None:
        sections: dict[tuple[str, int], Section] = {}
        batch: list[tuple[Section, str | None]] = []
        remaining, empty, dropped, raw_hash = BATCH, 0, 0, hashlib.sha256()

        for document in read_documents(piece, raw_hash):
            dropped += document.dropped
            if not document:
                empty += 1
                continue
            split = place(document, self._options)
            section = sections.get(split) or Section(self._type, self._folder, self._in_memory)
            sections[split] = section
            section.documents += 1
            for paragraph in document:
                for sentence in sentences(paragraph):
                    batch.append((section, sentence if self._encoder.sees_spaces else sentence.lstrip()))
                    remaining -= len(sentence)
                    if remaining <= 0:
                        self._encode(batch)
                        batch, remaining = [], BATCH
                        for filled in sections.values():
                            filled.flush()
            batch.append((section, None))
        self._encode(batch)

        counts = {"empty": empty, "dropped": dropped, "sha256": raw_hash.hexdigest()}
        self._write(piece, sections, counts)

    def _encode(self, batch: list[tuple[Section, str | None]]) -> None:
        """Add the rows of a batch to their sections; None is the end of a document."""
        rows = iter(self._encoder.encode([text for _, text in batch if text is not None]))
        most = self._options.longest - 1  # without </s>
        for section, text in batch:
            if text is None:
                section.add([EOS])
                continue
            row = next(rows)
            if not row:  # no tokens: adding only </s> would end the document
                continue
            if len(row) > most:
                section.cut += 1
                for part in self._parts(row, most):
                    section.add([*part, EOS])
                    section.lines += 1
                continue
            row.append(EOS)
            section.add(row)
            section.lines += 1

    def _parts(self, row: list[int], most: int) -> Iterator[list[int]]:
        """Yield parts of at most `most` tokens; if possible, a part begins with a word."""
        while len(row) > most:
            end = next((i for i in range(most, most // 2, -1) if self._word_starts[row[i]]), most)
            yield row[:end]
            row = row[end:]
        yield row

    def _write(self, piece: Piece, sections: dict[tuple[str, int], Section], counts: dict) -> None:
        ordered = sorted(sections.items())
        head = {
            "piece": piece.number,
            "source": piece.source,
            "stamp": piece.stamp,
            "bytes": piece.size,
            **counts,
            "sections": [
                {"split": split, "shard": shard} | {name: getattr(section, name) for name in COUNTED}
                for (split, shard), section in ordered
            ],
        }
        path = piece_path(self._folder, piece.number)
        try:
            with atomic_file(path) as file:
                file.write(json.dumps(head).encode() + b"\n")
                for _, section in ordered:
                    section.write(file)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}; the pieces before it are kept.") from None


def place(document: list[str], options: Options) -> tuple[str, int]:
    """Return split and shard, from a hash of the text: independent of position, and equal for copies."""
    salt = hashlib.blake2b(str(options.seed).encode(), digest_size=hashlib.blake2b.SALT_SIZE).digest()
    drawn = hashlib.blake2b("\n".join(document).encode(), digest_size=2 * DIGEST, salt=salt).digest()
    share = int.from_bytes(drawn[:DIGEST]) / (1 << 8 * DIGEST)
    if share < options.valid_share:
        return "valid", 0
    if share < options.valid_share + options.test_share:
        return "test", 0
    return "train", int.from_bytes(drawn[DIGEST:]) % options.shards


def check_splits(pieces: Iterable[Piece], options: Options) -> None:
    """Raise DataError if a split or shard gets no document; stops reading when each has one."""
    empty = [("train", shard) for shard in range(options.shards)]
    empty += [(name, 0) for name in ("valid", "test") if getattr(options, f"{name}_share")]
    count = 0
    for piece in pieces:
        for document in filter(None, read_documents(piece, hashlib.sha256())):
            count += 1
            found = place(document, options)
            if found in empty:
                empty.remove(found)
            if not empty:
                return
    name, shard = empty[0]
    if name == "train":
        raise DataError(f"--shards {options.shards}: shard {shard} has none of {count} documents: use fewer.")
    raise DataError(
        f"--{name}-share {getattr(options, f'{name}_share'):g} selects none of the {count} documents: give a larger "
        "share or another --seed."
    )


def token_type(encoder: Encoder) -> str:
    """Return the array type code of the tokens, as in `IndexedWriter`."""
    return (NARROW if len(SPECIALS) + len(encoder.symbols) < 65_500 else WIDE)[0]


def piece_path(folder: Path, number: int) -> Path:
    """Return the path of a piece's file."""
    return folder / f"{number:06}.piece"


def read_head(path: Path, type_: str) -> dict | None:
    """Return the header of a piece's file; None if the file is missing or damaged or has the wrong length.

    type_  array type code of the tokens
    """
    try:
        with path.open("rb") as file:
            line = file.readline()
            size = os.fstat(file.fileno()).st_size
        head = json.loads(line)
        body = sum(
            section["rows"] * array("i").itemsize + section["tokens"] * array(type_).itemsize
            for section in head["sections"]
        )
        return head if head.keys() >= HEAD and size == len(line) + body else None
    except (FileNotFoundError, ValueError, AttributeError, TypeError, KeyError):  # missing, or damaged header
        return None
