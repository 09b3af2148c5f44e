"""A cache belongs to one teacher, in one precision, and to data of one kind."""

import json
from dataclasses import asdict, replace

import pytest

from fairseq_kd.data.cache.identity import Identity, hash_files
from fairseq_kd.errors import CannotStart
from tests.tiny import SHAPE

IDENTITY = Identity("teacher's hash", "fp32", "head", "dictionary's hash", 40, SHAPE, 2, False, ("a", "b"))


@pytest.fixture
def cache(tmp_path):
    IDENTITY.claim(tmp_path)
    return tmp_path


def test_it_is_read_as_it_was_written(cache):
    assert Identity.read(cache) == IDENTITY
    assert IDENTITY.agree(cache)
    assert not IDENTITY.agree(cache / "none")
    assert (IDENTITY.classes("head"), IDENTITY.classes("other")) == (2, None)


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"teacher": "x"}, "has the signals of another teacher than --teacher .*: give that teacher"),
        ({"precision": "bf16"}, "was written with --teacher-precision fp32, now bf16: give fp32"),
        ({"head": None}, "was written with --classification-head-name head, now None"),
        ({"encoder": "x"}, "has data of another vocabulary"),
        ({"length": 30}, "has data of up to 40 tokens, now 30"),
        ({"class_names": ("b", "a")}, r"has logits of the classes \('a', 'b'\), now \('b', 'a'\)"),
    ],
)
def test_a_cache_of_something_else_is_refused(cache, changed, found):
    for use in (Identity.agree, Identity.claim):
        with pytest.raises(CannotStart, match=rf"--teacher-cache \S+ {found}.*; or name another folder"):
            use(replace(IDENTITY, **changed), cache)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("{", r"has an invalid cache\.json"),
        ("{}", r"has an invalid cache\.json"),
        (json.dumps({**asdict(IDENTITY), "format": 1}), "has format 1, but this version needs 4"),
    ],
)
def test_an_invalid_file_is_refused(tmp_path, content, found):
    (tmp_path / "cache.json").write_text(content)
    with pytest.raises(CannotStart, match=rf"--teacher-cache \S+ {found}"):
        Identity.read(tmp_path)


def test_the_hash_is_that_of_all_contents_in_order(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("a"), two.write_text("b")
    before = hash_files([one, two])
    assert before == hash_files([one, two]) != hash_files([two, one])
    one.write_text("ab")
    assert hash_files([one, two]) != before
