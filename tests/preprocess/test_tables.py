import gzip
import json
import sys
from pathlib import Path

import pytest

from preprocess.errors import DataError
from preprocess.tables import column, read_table

TEXT = [("text", "sentence"), ("label",)]


def read(name, content, wanted=TEXT, headerless=()):
    raw = content if isinstance(content, bytes) else content.encode()
    return read_table(Path(name), raw, wanted, headerless)


def test_tabs_and_line_feeds_separate_and_nothing_else():
    table = read("a.tsv", 'text\tlabel\n"open quote\t1\nline\u2028sep, \x85 next\x0bvt\rcr\t0\n')
    assert table.rows == [['"open quote', "1"], ["line\u2028sep, \x85 next\x0bvt\rcr", "0"]]
    assert table.bad == {}
    assert table.place(1).endswith("a.tsv line 3")


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_byte_order_mark_line_ends_and_end_of_file(end):
    table = read("a.tsv", b"\xef\xbb\xbf" + f"label\ttext\r\n1\ta\r\n0\tb{end}".encode())
    assert table.names == ["label", "text"]
    assert table.rows == [["1", "a"], ["0", "b"]]


def test_columns_are_found_by_any_of_their_names():
    table = read("a.tsv", "label\tsentence\n1\ta\n")
    assert (column(table, TEXT[0]), column(table, TEXT[1]), column(table, ("score",))) == (1, 0, None)


def test_without_a_header_the_first_line_is_data():
    names = ("source", "label", "mark", "text")
    table = read("train.tsv", "gj04\t1\t\tText here.\ngj04\t0\t*\tHere text.", headerless=names)
    assert table.names == list(names)
    assert table.rows[0] == ["gj04", "1", "", "Text here."]
    assert table.place(0).endswith("line 1")

    with_header = read("train.tsv", "mark\tlabel\tx\ttext\n*\t0\t\tHere.", headerless=names)
    assert with_header.rows == [["*", "0", "", "Here."]]


def test_a_row_of_another_width_is_bad():
    assert read("a.tsv", "text\tlabel\na\t1\nb\nc\t1\t2\n").bad == {
        1: "1 fields instead of 2",
        2: "3 fields instead of 2",
    }


def test_json_lines_and_json():
    records = [{"text": "a\nb", "label": 1}, {"text": "c", "label": 0}]
    lines = read("a.jsonl", "\n".join(map(json.dumps, records)) + "\n{broken\n[1]\n")
    assert lines.names == ["text", "label"]
    assert lines.rows[:2] == [["a\nb", 1], ["c", 0]]
    assert lines.bad == {2: "not valid JSON", 3: "not a JSON object"}
    assert lines.typed

    assert read("a.json", json.dumps(records)).rows == lines.rows[:2]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", b"\xef\xbb\xbf\n", "a.tsv is empty"),
        ("a.tsv", "text\tlabel\n", "has a header but no rows"),
        ("a.tsv", "id\tscore\n1\t2\n", r"no column 'text', 'label' \(found: id, score\)"),
        ("a.tsv", b"text\tlabel\na\t1\nb\xff\t1\n", r"line 3 is not UTF-8 \(byte 0xff\)"),
        ("a.tsv", gzip.compress(b"text\tlabel\n", mtime=0), "^a.tsv is compressed by gzip"),
        ("a.json", "[{]", "a.json is not valid JSON"),
    ],
)
def test_an_unusable_file_is_an_error(name, content, message):
    with pytest.raises(DataError, match=message):
        read(name, content)


def test_parquet_needs_pyarrow(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match="a.parquet needs the package pyarrow"):
        read("a.parquet", "PAR1...")


@pytest.mark.parametrize("kind", ["parquet", "file", "stream"])
def test_parquet_and_arrow(kind):
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = pa.table({"sentence": ["a", None], "label": [1, 0]})
    sink = pa.BufferOutputStream()
    if kind == "parquet":
        pq.write_table(data, sink)
    else:
        with (pa.ipc.new_file if kind == "file" else pa.ipc.new_stream)(sink, data.schema) as writer:
            writer.write_table(data)

    name = "a.parquet" if kind == "parquet" else "a.arrow"
    table = read(name, sink.getvalue().to_pybytes())
    assert table.rows == [("a", 1), (None, 0)]
    assert table.place(0).endswith("row 1")

    raw = sink.getvalue().to_pybytes()
    halfway = len(raw) // 2
    for damaged in (b"no such data", raw[:halfway], raw[:halfway] + bytes(halfway - 8) + raw[-8:]):
        with pytest.raises(DataError, match="cannot be read as"):
            read(name, damaged)
