"""Reads, validates and writes the files of an encoder; raises DataError with the file name."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .errors import DataError

# Any of these files shows that a folder has the vocabulary of a model.
VOCABULARIES = ("encoder.json", "vocab.txt", "tokenizer.json", "sentencepiece.model")


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, with its line endings unchanged."""
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise damaged(path, f"is not UTF-8 (byte {error.start})") from None


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file."""
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise damaged(path, f"is not valid JSON ({error})") from None
    if not isinstance(found, dict):
        raise damaged(path, "is JSON but not an object")
    return found


def part(path: Path, whole: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the object `name` within the object of a file; empty if it is missing or null."""
    found = whole.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise damaged(path, f'has a "{name}" that is not an object')
    return found


def checked_rows(path: Path, rows: Any) -> dict[str, int]:
    """Return `rows` if it is a valid vocabulary: token -> unique id. Raises DataError otherwise."""
    if (
        not isinstance(rows, dict)
        or not rows
        or not all(type(row) is int and row >= 0 for row in rows.values())
    ):
        raise damaged(path, "has no vocabulary of tokens and ids")
    if len(set(rows.values())) < len(rows):
        raise damaged(path, "has two tokens with the same id")
    return rows


def damaged(path: Path, problem: str) -> DataError:
    """Return the error for an invalid file."""
    return DataError(f"{path} {problem}: get a new copy of the encoder's files.")


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file, with its line endings unchanged."""
    path.write_text(text, encoding="utf-8", newline="\n")


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines, each with a line feed."""
    write_text(path, "".join(f"{line}\n" for line in lines))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write indented JSON."""
    write_text(path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")
