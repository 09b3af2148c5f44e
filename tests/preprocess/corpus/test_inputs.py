import pytest

from preprocess.corpus.inputs import find_source
from preprocess.errors import DataError
from tests.preprocess.corpus.conftest import write_wiki

WRAPPED = "The ferry leaves the harbour at noon, and nobody who\nsaid that the bread was stale is on board. A\nred kite.\n\n"
DUMP = "The ferry leaves.\nNobody said so.\n\nA red kite circles.\nIt is noon.\n\n"


@pytest.mark.parametrize(("text", "kind"), [(WRAPPED * 9, "book"), (DUMP * 9, "text"), ("x y\n" * 9, "book")])
def test_the_kind_is_told_by_the_text(tmp_path, text, kind):
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


def test_an_equals_sign_may_belong_to_the_name(tmp_path):
    path = tmp_path / "a=b"
    path.write_text(DUMP)
    assert find_source(str(path)).files[0].path == path


@pytest.mark.parametrize(
    ("files", "given", "message"),
    [
        ({}, "", r"--input .* holds no file with text in it"),
        ({"a": ""}, "/a", r"--input .*/a is empty: give a file"),
        ({"a": "x"}, "/b", r"--input .*/b does not exist"),
        ({"a": "x"}, "/a=prose", r"'prose' is no kind of text: choose among wiki, text, book"),
        ({"a": "<doc id=1>", "b": "x"}, "", r"/a is WikiExtractor's and .*/b is not"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_sentence(tmp_path, files, given, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        find_source(f"{tmp_path}{given}")
