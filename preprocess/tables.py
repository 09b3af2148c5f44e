"""Reads a file into rows: TSV as GLUE has it, JSON (lines), Hugging Face's parquet and arrow.

GLUE's TSV is not quoted CSV: a stray double quote is text, so lines end at "\\n" and fields at tabs,
nowhere else. (`str.splitlines` would also break lines at characters such as U+2028.)
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .errors import DataError
from .file_types import undecodable

BOM = b"\xef\xbb\xbf"


@dataclass
class Table:
    """What a file holds.

    names       its columns
    rows        its rows, as many values each as there are columns, except the bad ones
    bad         number of a row -> what is wrong with it
    typed       True where labels are numbers of a class (Hugging Face), False where all is text
    first       number of row 0 in the file, counted in `unit`s from 1
    """

    path: Path
    names: list[str]
    rows: list[Sequence]
    bad: dict[int, str] = field(default_factory=dict)
    typed: bool = False
    first: int = 1
    unit: str = "line"

    def place(self, row: int) -> str:
        return f"{self.path} {self.unit} {row + self.first}"


def read_table(path: Path, raw: bytes, wanted: Sequence[tuple[str, ...]], headerless: Sequence[str]) -> Table:
    """Reads `raw`, the content of `path`; the file's ending says how.

    wanted      for every column that is needed the names it may have
    headerless  the columns of a TSV whose first line names none of those wanted, if it may be so
    """
    if not raw.removeprefix(BOM).strip():
        raise DataError(f"{path} is empty: get it again (scripts/download_glue.sh) or name another file.")

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
        raise DataError(f"{path} has a header but no rows: get it again or name another file.")
    return table


def column(table: Table, names: tuple[str, ...]) -> int | None:
    """Where the first of `names` that the table has stands."""
    return next((table.names.index(name) for name in names if name in table.names), None)


def _read_tsv(path: Path, raw: bytes, wanted: Sequence[tuple[str, ...]], headerless: Sequence[str]) -> Table:
    lines = _decode(path, raw).rstrip("\r\n").split("\n")
    rows = [line.removesuffix("\r").split("\t") for line in lines]

    # Column 1 of a headerless file is data, so a header is known by holding every name that is needed.
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
        raise DataError(f"{path} is not valid JSON ({error}): get it again or name another file.") from None


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
            data = pa.ipc.open_stream(source).read_all()  # what `datasets` saves
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise DataError(f"{path} cannot be read as {ending[1:]} ({reason}): get it again.") from None

    columns = [data.column(name).to_pylist() for name in data.column_names]
    return Table(path, data.column_names, list(zip(*columns, strict=True)), typed=True, unit="row")


def _decode(path: Path, raw: bytes) -> str:
    raw = raw.removeprefix(BOM)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"{undecodable(str(path), line, raw, error)} or get it again.") from None
