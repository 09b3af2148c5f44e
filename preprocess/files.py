"""An encoder's files: read, or refused with one sentence that names the file."""

import json
from pathlib import Path
from typing import Any

from .errors import DataError


def read_text(path: Path) -> str:
    """The whole file, its line ends as they are."""
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise damaged(path, f"is not UTF-8 (byte {error.start})") from None


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object that the file holds."""
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise damaged(path, f"is not valid JSON ({error})") from None
    if not isinstance(found, dict):
        raise damaged(path, "is JSON but not an object")
    return found


def part(path: Path, whole: dict[str, Any], name: str) -> dict[str, Any]:
    """The object called `name` inside that of a file; empty where it is absent or null."""
    found = whole.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise damaged(path, f'holds a "{name}" that is not an object')
    return found


def checked_rows(path: Path, rows: Any) -> dict[str, int]:
    """`rows`, if it is what a vocabulary is: every token with a number of its own."""
    if (
        not isinstance(rows, dict)
        or not rows
        or not all(type(row) is int and row >= 0 for row in rows.values())
    ):
        raise damaged(path, "holds no vocabulary of tokens and their numbers")
    if len(set(rows.values())) < len(rows):
        raise damaged(path, "gives two tokens the same number")
    return rows


def damaged(path: Path, what: str) -> DataError:
    return DataError(f"{path} {what}: take a fresh copy of the encoder's files.")
