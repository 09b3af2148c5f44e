"""Compressed text is opened; files that are not text are errors."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import pytest

from preprocess.errors import DataError
from preprocess.file_types import compression, not_text, open_text, undecodable

COMPRESS = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}
TEXT = "The ferry leaves at noon.\nCafé.\n".encode() * 40


def tar() -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        member = tarfile.TarInfo("book.txt")
        member.size = len(TEXT)
        archive.addfile(member, io.BytesIO(TEXT))
    return sink.getvalue()


def zipped() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("book.txt", TEXT)
    return sink.getvalue()


def opened(path) -> bytes:
    with open_text(path, "name") as file:
        return file.read()


@pytest.mark.parametrize("program", COMPRESS)
def test_compressed_text_is_opened_with_any_name(tmp_path, program):
    (tmp_path / "text").write_bytes(COMPRESS[program](TEXT) + COMPRESS[program](b"More.\n"))  # two streams
    assert compression((tmp_path / "text").read_bytes()) == program
    assert opened(tmp_path / "text") == TEXT + b"More.\n"
    (tmp_path / "empty").write_bytes(COMPRESS[program](b""))
    assert opened(tmp_path / "empty") == b""


@pytest.mark.parametrize(
    "text", [b"BZhang said so.", b"PAR1 is a protein.", b"%PDF is a format.", b"PK", TEXT]
)
def test_similar_text_is_text(tmp_path, text):
    (tmp_path / "a.gz").write_bytes(text)
    assert (compression(text), not_text(text)) == (None, None)
    assert opened(tmp_path / "a.gz") == text


@pytest.mark.parametrize("program", COMPRESS)
@pytest.mark.parametrize("damage", [lambda raw: raw[:-12], lambda raw: raw[:30] + bytes(40) + raw[30:]])
def test_damaged_files_are_an_error(tmp_path, program, damage):
    (tmp_path / "text").write_bytes(damage(COMPRESS[program](bytes(range(1, 256)) * 300)))
    with pytest.raises(DataError, match=r"^name is damaged or incomplete"):
        opened(tmp_path / "text")


BINARY = "an archive or another binary file"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (tar(), BINARY),
        (zipped(), BINARY),
        (b"\x28\xb5\x2f\xfd\x04\x00", BINARY),
        (b"%PDF-1.7\n", BINARY),
        (b"PAR1\x15\x04", BINARY),
        ("Noon.".encode("utf-16"), "UTF-16 text"),
        (b'<mediawiki xmlns="x">\n', "a dump of MediaWiki: run WikiExtractor"),
    ],
)
@pytest.mark.parametrize("program", [None, "xz"])
def test_other_files_are_named(tmp_path, content, what, program):
    (tmp_path / "text").write_bytes(COMPRESS[program](content) if program else content)
    with pytest.raises(DataError, match=f"^name is {what}"):
        opened(tmp_path / "text")


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"a\ncaf\xe9", "line 2 is not UTF-8 (byte 0xe9)"),
        (b"a\n\xe9\0\0", "is a binary file, line 2"),
        (gzip.compress(TEXT, mtime=0), "is compressed by gzip"),
        (b"\xff\xfea\0", "is UTF-16 text"),
    ],
)
def test_undecodable_bytes_are_explained(raw, sentence):
    with pytest.raises(UnicodeDecodeError) as error:
        raw.decode()
    assert undecodable("a.tsv", 2, raw, error.value).startswith(f"a.tsv {sentence}")
