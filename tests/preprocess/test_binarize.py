from itertools import product

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from preprocess.binarize import binarize, shorten
from preprocess.encoders import load_encoder
from preprocess.meta import Options
from preprocess.sources import find_sources
from preprocess.tasks import TASKS


@pytest.mark.parametrize("limit", [0, 1, 7, 8])
def test_a_pair_is_cut_as_transformers_cuts_it(limit):
    """Compares with `longest_first` of the library tokenizers, which truncates for transformers."""
    tokenizer = Tokenizer(models.WordLevel({str(number): number for number in range(12)}, unk_token="0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(limit, strategy="longest_first")
    for lengths in product(range(12), range(12)):
        pair = tuple(list(range(length)) for length in lengths)
        was_cut = shorten(pair, limit)
        assert was_cut == (sum(lengths) > limit)
        first, second = (" ".join(map(str, range(length))) for length in lengths)
        assert [*pair[0], *pair[1]] == tokenizer.encode(first, second).ids


def test_a_sentence_is_cut_at_its_end():
    assert shorten(([1, 2, 3],), 3) is False
    sentence = [1, 2, 3, 4]
    assert shorten((sentence,), 3) is True
    assert sentence == [1, 2, 3]


def test_many_batches_give_the_files_of_one(glue_dir, gpt2_folder, tmp_path, monkeypatch):
    def files(out):
        out.mkdir()
        sources = find_sources(TASKS["SST-2"], glue_dir, {}, [])
        binarize(TASKS["SST-2"], sources, load_encoder(gpt2_folder), Options(), out)
        return [path.read_bytes() for path in sorted(out.rglob("*.*")) if path.is_file()]

    whole = files(tmp_path / "whole")
    monkeypatch.setattr("preprocess.binarize.BATCH", 2)
    assert files(tmp_path / "parts") == whole
