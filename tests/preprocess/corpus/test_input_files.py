import os

import pytest

from preprocess.corpus.input_files import find_source, find_sources
from preprocess.errors import DataError
from tests.preprocess.corpus.conftest import write_wiki

WRAPPED = "The ferry leaves the harbour at noon, and nobody who\nsaid that the bread was stale is on board. A\nred kite.\n\n"
DUMP = "The ferry leaves.\nNobody said so.\n\nA red kite circles.\nIt is noon.\n\n"


ARTICLE = '{"id": "1", "url": "u", "title": "Noon", "text": "At noon.\\nThe ferry leaves."}\n'


@pytest.mark.parametrize(
    ("text", "kind"),
    [(WRAPPED * 9, "book"), (DUMP * 9, "text"), ("x y\n" * 9, "book"), ("\ufeff" + ARTICLE, "json")],
)
def test_the_kind_is_detected_from_the_text(tmp_path, text, kind):
    (tmp_path / "a file, odd & named = so.txt").write_text(text)
    assert find_source(str(tmp_path)).kind == kind
    assert find_source(f"{tmp_path}=text").kind == "text"


def test_files_are_in_order_and_named_from_the_input_on(tmp_path):
    folder = write_wiki(tmp_path / "wiki", files=3, articles=1)
    (folder / ".hidden").write_text("no text")
    (folder / "AA" / "empty").touch()
    source = find_source(str(folder))
    assert (source.name, source.kind) == ("wiki", "wiki")
    assert [file.name for file in source.files] == [f"wiki/AA/wiki_0{i}" for i in range(3)]


def test_folders_that_are_links_are_read(tmp_path):
    elsewhere = write_wiki(tmp_path / "elsewhere", files=2, articles=1)
    folder = write_wiki(tmp_path / "wiki", files=1, articles=1)
    (folder / "AB").symlink_to(elsewhere / "AA")
    (folder / "AC").symlink_to(tmp_path / "AD")
    (tmp_path / "AD").mkdir()
    (tmp_path / "AD" / "wiki_00").symlink_to(elsewhere / "AA" / "wiki_00")
    names = [file.name for file in find_source(str(folder)).files]
    assert names == ["wiki/AA/wiki_00", "wiki/AB/wiki_00", "wiki/AB/wiki_01", "wiki/AC/wiki_00"]


@pytest.mark.parametrize("target", ["wiki", "wiki/AA"])
def test_a_link_to_a_parent_folder_is_an_error(tmp_path, target):
    folder = write_wiki(tmp_path / "wiki", files=1, articles=1)
    (folder / "AA" / "back").symlink_to(tmp_path / target)
    with pytest.raises(DataError, match=r"--input .*back"):
        find_sources([str(folder)])


def test_an_unreadable_file_below_a_folder_is_an_error(tmp_path, monkeypatch):
    folder = write_wiki(tmp_path / "wiki", files=1, articles=1)
    (folder / "AA" / "wiki_01").symlink_to(folder / "gone")
    with pytest.raises(DataError, match=r"wiki/AA/wiki_01 cannot be read \(No such file or directory\)"):
        find_source(str(folder))

    def scandir(where):  # the superuser, whom no folder refuses, runs tests as well
        if os.fspath(where).endswith("AA"):
            raise PermissionError(13, "Permission denied", where)
        return real(where)

    real = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"--input .*wiki: .*wiki/AA cannot be read \(Permission denied\)"):
        find_source(str(folder))


@pytest.mark.parametrize("second", ["wiki/AA", "./wiki=text", "beside"])
def test_a_file_in_two_inputs_is_refused(tmp_path, monkeypatch, second):
    write_wiki(tmp_path / "wiki", files=2, articles=1)
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "other_name").symlink_to(tmp_path / "wiki" / "AA" / "wiki_01")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=rf"^--input wiki and --input {second} both have"):
        find_sources(["wiki", second])


def test_a_file_that_is_twice_in_a_folder_is_refused(tmp_path):
    folder = write_wiki(tmp_path / "wiki", files=2, articles=1)
    (folder / "AB").symlink_to(folder / "AA")
    with pytest.raises(DataError, match="wiki/AA/wiki_00 and wiki/AB/wiki_00"):
        find_sources([str(folder)])


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="pipe is neither a file nor a folder"):
        find_source(f"{tmp_path}/pipe")


def test_an_equals_sign_may_belong_to_the_name(tmp_path):
    path = tmp_path / "a=b"
    path.write_text(DUMP)
    assert find_source(str(path)).files[0].path == path


@pytest.mark.parametrize(
    ("files", "given", "message"),
    [
        ({}, "", r"--input .* has no file with text"),
        ({"a": ""}, "/a", r"--input .*/a is empty: give a file"),
        ({"a": "x"}, "/b", r"--input .*/b does not exist"),
        ({"a": "x"}, "/a=prose", r"'prose' is an unknown kind: choose from wiki, json, text, book"),
        ({"a": "<doc id=1>", "b": "x"}, "", r"/a has articles in <doc> and .*/b does not"),
        ({"a": "x", "b": ARTICLE}, "", r"/b has JSON and .*/a does not"),
        ({"a": ARTICLE, "b": "<doc id=1>"}, "", r"/a has JSON and .*/b does not"),
    ],
)
def test_unreadable_input_is_an_error(tmp_path, files, given, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        find_source(f"{tmp_path}{given}")
