import json

import pytest

from fairseq_kd.data.metadata import dictionary_hash, read_metadata
from fairseq_kd.errors import CannotStart
from preprocess import vocabulary
from tests.tiny import write_data


def test_metadata_is_read(tmp_path):
    meta = read_metadata(write_data(tmp_path / "data"))
    assert (meta.num_classes, meta.regression, meta.pairs, meta.pair_format) == (2, False, True, "roberta")
    assert meta.sentences == {"train": 64, "valid": 40}


def test_a_folder_without_metadata_has_none(tmp_path):
    assert read_metadata(tmp_path) is None


def test_broken_metadata_is_one_sentence(tmp_path):
    (tmp_path / "meta.json").write_text(json.dumps({"task": "x"}))
    with pytest.raises(CannotStart, match=r"meta\.json cannot be understood \(KeyError: 'num_classes'\)"):
        read_metadata(tmp_path)


def test_the_hash_is_that_of_preprocessing(tmp_path):
    path = tmp_path / "dict.txt"
    path.write_text("a 3\nb c 2\n\x85 1\n", encoding="utf-8")
    other = tmp_path / "other.txt"
    other.write_text("a 9\nb c 9\n\x85 9\n", encoding="utf-8")

    assert dictionary_hash(path) == dictionary_hash(other) == vocabulary.dictionary_hash(path)
