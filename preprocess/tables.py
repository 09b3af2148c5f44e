"""Reads a file as a table: TSV in GLUE's format, JSON, JSON lines, and Hugging Face's parquet and arrow.

GLUE's TSV has no quoting: a double quote is text. So only "\\n" ends a line, and only a tab ends a field.
(`str.splitlines` would also split lines at characters such as U+2028.)
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import DataError
from .file_types import undecodable

BOM = b"\xef\xbb\xbf"


@dataclass
class Table:
    """Content of a file.

    names       column names
    rows        rows with one value per column, except malformed rows
    bad         index of a malformed row -> reason
    typed       True if values have types and labels are class numbers (Hugging Face); False if all is text
    first       number of row 0 in the file, in `unit`s, counted from 1
    """

    path: Path
    names: list[str]
    rows: Sequence[Sequence[Any]]
    bad: dict[int, str] = field(default_factory=dict)
    typed: bool = False
    first: int = 1
    unit: str = "line"

    def place(self, row: int) -> str:
        return f"{self.path} {self.unit} {row + self.first}"


def read_table(path: Path, raw: bytes, wanted: Sequence[tuple[str, ...]], headerless: Sequence[str]) -> Table:
    """Return the table in `raw`, the content of `path`; the file name suffix decides the format.

    wanted      possible names of each required column
    headerless  columns of a TSV without a header line; empty if the TSV must have one

    Raises DataError if the file is empty or damaged, or if a column is missing.
    """
    if not raw.removeprefix(BOM).strip():
        raise DataError(f"{path} is empty: download it (scripts/download_glue.sh) or name another file.")

    ending = path.suffix.lower()
    if ending in (".parquet", ".arrow"):
        table = _read_arrow(path, raw, ending)
    elif ending in (".json", ".jsonl", ".ndjson"):
        table = _read_json(path, raw)
    else:
        table = _read_tsv(path, raw, wanted, headerless)

    missing = [names[0] for names in wanted if not set(names) & set(table.names)]
    if missing:
        raise DataError(
            f"{path} has no column {', '.join(map(repr, missing))} (found: {', '.join(table.names)[:200]}): "
            "give the task's original file, or one with these columns."
        )
    if not table.rows:
        raise DataError(f"{path} has a header but no rows: download it again or name another file.")
    return table


def column(table: Table, names: tuple[str, ...]) -> int | None:
    """Return the index of the first of `names` that is a column; None without one."""
    return next((table.names.index(name) for name in names if name in table.names), None)


def _read_tsv(path: Path, raw: bytes, wanted: Sequence[tuple[str, ...]], headerless: Sequence[str]) -> Table:
    lines = _decode(path, raw).rstrip("\r\n").split("\n")
    rows = [line.removesuffix("\r").split("\t") for line in lines]

    # The first line of a headerless file is data; it is a header if it has every required name.
    header = rows[0]
    if (
        headerless
        and len(header) == len(headerless)
        and not all(set(names) & set(header) for names in wanted)
    ):
        table = Table(path, list(headerless), rows, first=1)
    else:
        table = Table(path, header, rows[1:], first=2)

    width = len(table.names)
    table.bad = {
        number: f"{len(row)} fields instead of {width}"
        for number, row in enumerate(table.rows)
        if len(row) != width
    }
    return table


def _read_json(path: Path, raw: bytes) -> Table:
    text = _decode(path, raw).strip()
    bad = {}
    if text.startswith("["):
        records, unit = _parse_json(path, text), "record"
    else:
        records, unit = [], "line"
        for number, line in enumerate(text.split("\n")):
            try:
                records.append(json.loads(line))
            except ValueError:
                records.append({})
                bad[number] = "not valid JSON"

    for number, record in enumerate(records):
        if number not in bad and not isinstance(record, dict):
            bad[number] = "not a JSON object"
    names = list(dict.fromkeys(name for record in records if isinstance(record, dict) for name in record))
    rows = [[record.get(name) if isinstance(record, dict) else None for name in names] for record in records]
    return Table(path, names, rows, bad, typed=True, unit=unit)


def _parse_json(path: Path, text: str) -> list:
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}): download it again.") from None


def _read_arrow(path: Path, raw: bytes, ending: str) -> Table:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise DataError(
            f"{path} needs the package pyarrow, which is not installed: "
            "install it (uv pip install pyarrow, or fairseq-kd with the extra parquet), or give TSV or JSON lines."
        ) from None

    source = pa.BufferReader(raw)
    try:
        if ending == ".parquet":
            data = pq.read_table(source)
        elif raw.startswith(b"ARROW1"):
            data = pa.ipc.open_file(source).read_all()
        else:
            data = pa.ipc.open_stream(source).read_all()  # the format of `datasets`
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise DataError(f"{path} cannot be read as {ending[1:]} ({reason}): download it again.") from None

    columns = [data.column(name).to_pylist() for name in data.column_names]
    return Table(path, data.column_names, list(zip(*columns, strict=True)), typed=True, unit="row")


def _decode(path: Path, raw: bytes) -> str:
    raw = raw.removeprefix(BOM)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"{undecodable(str(path), line, raw, error)} or download it again.") from None
