import pytest

from preprocess.errors import DataError
from preprocess.meta import Options
from preprocess.sources import find_sources
from preprocess.splits import choose, read_splits
from preprocess.tasks import TASKS


def test_a_choice_is_seeded_ordered_and_nested():
    chosen = choose(1000, 100, seed=1)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == 100
    assert set(choose(1000, 50, seed=1)) < set(chosen)
    assert choose(1000, 100, seed=2) != chosen
    assert choose(10, 3, seed=1) == [4, 7, 8]  # on every machine, in every version
    assert choose(4, 9, seed=1) == [0, 1, 2, 3]


def test_shards_are_joined_in_order(tmp_path):
    folder = tmp_path / "sst2"
    folder.mkdir()
    for shard, sentence in enumerate(["first", "second"]):
        record = f'{{"sentence": "{sentence}", "label": {shard}}}\n'
        (folder / f"train-0000{shard}-of-00002.jsonl").write_text(record + "{broken\n")

    lines = []
    sources = find_sources(TASKS["SST-2"], tmp_path, {}, ["train"])
    rows = read_splits(TASKS["SST-2"], sources, Options(), lines.append)["train"]
    assert rows.texts == [["first", "second"]]
    assert rows.labels == [0, 1]
    assert rows.dropped == {"malformed": 2}
    dropped = "train-0000{}-of-00002.jsonl line 2: not valid JSON; dropped"
    assert [line.rpartition("/")[2] for line in lines] == [dropped.format(shard) for shard in range(2)]


def test_a_dev_share_that_leaves_nothing_is_refused(glue_dir):
    (glue_dir / "SST-2" / "dev.tsv").unlink()
    sources = find_sources(TASKS["SST-2"], glue_dir, {}, [], split_dev=True)
    with pytest.raises(DataError, match="--split-dev 0.1 of 3 training sentences makes an empty split"):
        read_splits(TASKS["SST-2"], sources, Options(split_dev=0.1), print)


def test_only_the_first_malformed_rows_are_named(glue_dir):
    (glue_dir / "SST-2" / "train.tsv").write_text("sentence\tlabel\na kite\t1\n" + "broken\n" * 14)
    lines = []
    sources = find_sources(TASKS["SST-2"], glue_dir, {}, ["train"])
    read_splits(TASKS["SST-2"], sources, Options(), lines.append)
    assert len(lines) == 11
    assert lines[-1] == "... and 4 more malformed rows"
