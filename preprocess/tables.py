"""Reads a file as a table: CSV, TSV in GLUE's format, JSON, JSON lines, Hugging Face's parquet and arrow, plain text.

GLUE's TSV has no quoting: a double quote is text. So only "\\n" ends a line, and only a tab ends a field.
(`str.splitlines` would also split lines at characters such as U+2028.)
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import DataError
from .file_types import undecodable

BOM = b"\xef\xbb\xbf"
LONGEST_FIELD = 2**31 - 1  # of a CSV; the default of 131,072 characters is too short for documents


@dataclass
class Table:
    """Content of a file.

    names       column names
    rows        rows with one value per column, except malformed rows
    bad         index of a malformed row -> reason
    typed       True if values have types and labels are class numbers (Hugging Face); False if all is text
    first       number of row 0 in the file, in `unit`s, counted from 1
    lines       number of each row's first line, if rows may have several lines (CSV)
    """

    path: Path
    names: list[str]
    rows: Sequence[Sequence[Any]]
    bad: dict[int, str] = field(default_factory=dict)
    typed: bool = False
    first: int = 1
    unit: str = "line"
    lines: Sequence[int] = ()

    def place(self, row: int) -> str:
        return f"{self.path} {self.unit} {self.lines[row] if self.lines else row + self.first}"


def read_table(
    path: Path,
    raw: bytes,
    wanted: Sequence[tuple[str, ...]],
    headerless: Sequence[str],
    delimiter: str | None = None,
) -> Table:
    """Return the table in `raw`, the content of `path`; the file name suffix decides the format.

    wanted      possible names of each required column
    headerless  columns of a CSV or TSV without a header line; empty if there must be one
    delimiter   of a file with quoted fields (CSV); None = a comma in .csv, and no quotes in other text

    Raises DataError if the file is empty or damaged, or if a column is missing.
    """
    if not raw.removeprefix(BOM).strip():
        raise DataError(f"{path} is empty: name another file, or download it again.")

    ending = path.suffix.lower()
    if ending in (".parquet", ".arrow"):
        table = _read_arrow(path, raw, ending)
    elif ending in (".json", ".jsonl", ".ndjson"):
        table = _read_json(path, raw)
    elif delimiter or ending == ".csv":
        table = _read_csv(path, raw, wanted, headerless, delimiter or ",")
    else:
        table = _read_tsv(path, raw, wanted, headerless)

    missing = [names[0] for names in wanted if not set(names) & set(table.names)]
    if (
        missing
        and len(table.names) == 1
        and (mark := next((mark for mark in ";|,\t" if mark in table.names[0]), None))
    ):
        shown = "tab" if mark == "\t" else mark
        raise DataError(
            f"{path} has a single column {table.names[0]!r}: perhaps its delimiter is {shown!r} "
            "(--delimiter of preprocess.custom)."
        )
    if missing:
        raise DataError(
            f"{path} has no column {', '.join(map(repr, missing))} (found: {', '.join(table.names)[:200]}): "
            "give a file with these columns, or correct the column names."
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

    if _has_no_header(path, rows[0], wanted, headerless):
        table = Table(path, list(headerless), rows, first=1)
    else:
        table = Table(path, rows[0], rows[1:], first=2)
    table.bad = _other_widths(table)
    return table


def _read_csv(
    path: Path, raw: bytes, wanted: Sequence[tuple[str, ...]], headerless: Sequence[str], delimiter: str
) -> Table:
    """Read quoted fields, which may contain the delimiter, line breaks and doubled quotes (RFC 4180)."""
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(io.StringIO(_decode(path, raw), newline=""), delimiter=delimiter, strict=True)
    rows, lines, after = [], [], 0
    try:
        for row in reader:
            if row:  # not an empty line
                rows.append(row)
                lines.append(after + 1)
            after = reader.line_num
    except csv.Error as error:
        raise DataError(
            f"{path} line {after + 1} is not valid CSV ({error}): correct the quotes from there on, or --delimiter "
            f"(now {delimiter!r})."
        ) from None

    if _has_no_header(path, rows[0], wanted, headerless):
        table = Table(path, list(headerless), rows, lines=lines)
    else:
        table = Table(path, [name.strip() for name in rows[0]], rows[1:], lines=lines[1:])
    table.bad = _other_widths(table)
    return table


def _has_no_header(
    path: Path, first: Sequence[str], wanted: Sequence[tuple[str, ...]], headerless: Sequence[str]
) -> bool:
    """Return whether the first line of a file with these columns is data: it lacks a required name.

    Raises DataError if it has all required names, but with other capitals or spaces.
    """
    if not len(first) == len(headerless) > 0 or all(set(names) & set(first) for names in wanted):
        return False
    found = {name.strip().casefold() for name in first}
    if all({name.casefold() for name in names} & found for names in wanted):
        raise DataError(
            f"{path} line 1 is a header ({', '.join(first)}): remove --columns and give these names, or remove the line."
        )
    return True


def _other_widths(table: Table) -> dict[int, str]:
    width = len(table.names)
    return {
        number: f"{len(row)} fields instead of {width}"
        for number, row in enumerate(table.rows)
        if len(row) != width
    }


def read_lines(path: Path, raw: bytes, names: Sequence[str]) -> Table:
    """Return plain text as a table: a sentence each line, or the tab-separated sentences of a pair. Skips empty lines.

    names  of the text columns
    """
    numbered = enumerate(_decode(path, raw).split("\n"), start=1)
    rows = {number: line.rstrip("\r").split("\t") for number, line in numbered if line.strip()}
    table = Table(path, list(names), list(rows.values()), lines=list(rows))
    table.bad = _other_widths(table)
    if not table.rows:
        raise DataError(f"{path} is empty: give a file with one sentence each line.")
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
            except (ValueError, RecursionError):
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
    except (ValueError, RecursionError) as error:
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
