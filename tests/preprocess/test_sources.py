from pathlib import Path

import pytest

from preprocess.errors import DataError
from preprocess.sources import find_sources, tasks_in
from preprocess.tasks import TASKS


def found(task, folder, **other):
    sources = find_sources(TASKS[task], folder, other.pop("given", {}), other.pop("only", []), **other)
    return {split: source.names for split, source in sources.items()}


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    return folder


@pytest.mark.parametrize(
    ("task", "files", "train", "valid"),
    [
        ("SST-2", ["SST-2/train.tsv", "SST-2/dev.tsv"], "train.tsv", "dev.tsv"),
        ("SST-2", ["sst2/train.jsonl", "sst2/validation.jsonl"], "train.jsonl", "validation.jsonl"),
        ("SNLI", ["snli_1.0/snli_1.0_train.jsonl", "snli_1.0/snli_1.0_dev.jsonl"], None, None),
        ("MRPC", ["MRPC/train.tsv", "MRPC/dev.tsv", "MRPC/dev_ids.tsv", "MRPC/train.json"], None, None),
        ("CoLA", ["cola/glue-train.arrow", "cola/glue-validation.arrow"], "glue-train.arrow", None),
        ("RTE", [f"rte/{name}.parquet" for name in ("validation", "train-1-of-2", "train-0-of-2")],
         "train-0-of-2.parquet, train-1-of-2.parquet", "validation.parquet"),
        ("QQP", ["qqp/train/data-00000-of-00001.arrow", "qqp/validation/data-00000-of-00001.arrow"], None, None),
    ],
)  # fmt: skip
def test_layouts(task, files, train, valid, tmp_path):
    names = found(task, make(tmp_path, *files))
    assert names["train"] == (train or Path(files[0]).name)
    assert names["valid"] == (valid or Path(files[1]).name)


def test_mnli_has_two_dev_and_two_test_sets(glue_dir):
    assert found("MNLI", glue_dir) == {
        "train": "train.tsv",
        "valid": "dev_matched.tsv",
        "valid1": "dev_mismatched.tsv",
        "test": "test_matched.tsv",
        "test1": "test_mismatched.tsv",
    }


def test_a_test_set_may_be_missing_and_splits_may_be_selected(glue_dir):
    assert list(found("RTE", glue_dir)) == ["train", "valid"]
    assert list(found("SST-2", glue_dir, only=["test"])) == ["test"]
    assert found("AX", glue_dir) == {"test": "AX.tsv"}


def test_given_files_go_before_found_ones(glue_dir):
    subset = make(glue_dir, "train_10k.tsv") / "train_10k.tsv"
    names = found("MNLI", glue_dir, given={"train": subset})
    assert (names["train"], names["valid1"]) == ("train_10k.tsv", "dev_mismatched.tsv")
    assert list(found("MNLI", None, given={"train": subset, "valid": subset})) == ["train", "valid"]


def test_split_dev_replaces_the_dev_file(glue_dir):
    (glue_dir / "QQP" / "dev.tsv").unlink()
    assert list(found("QQP", glue_dir, split_dev=True)) == ["train", "test"]
    with pytest.raises(DataError, match="--split-dev: RTE has the dev file .*dev.tsv"):
        found("RTE", glue_dir, split_dev=True)


@pytest.mark.parametrize(
    ("task", "removed", "options", "message"),
    [
        ("RTE", "train", {}, r"RTE has no train split \(train.tsv, .*--train-file"),
        ("RTE", "dev", {}, "--dev-file or --split-dev, .*--splits train,test"),
        ("MNLI", "dev_mismatched", {}, "has no valid1 split"),
        ("RTE", None, {"only": ["test"]}, "has no test split"),
        ("RTE", None, {"only": ["dev"]}, "--splits dev: RTE .*train, valid, test"),
        ("RTE", None, {"given": {"train": Path("absent")}}, "--train-file absent is not a file"),
        ("AX", None, {"given": {"train": Path("absent")}}, "--train-file absent: AX has no train split"),
    ],
)
def test_missing_files_are_an_error(task, removed, options, message, glue_dir):
    if removed:
        (glue_dir / task / f"{removed}.tsv").unlink()
    with pytest.raises(DataError, match=message):
        found(task, glue_dir, **options)


def test_a_training_file_alone_is_not_enough(tmp_path):
    given = make(tmp_path, "train_23k.tsv") / "train_23k.tsv"
    with pytest.raises(DataError, match="QQP has no valid split"):
        found("QQP", None, given={"train": given})
    assert list(found("QQP", None, given={"train": given}, only=["train"])) == ["train"]


def test_tasks_in_a_folder(glue_dir, tmp_path):
    assert tasks_in(glue_dir) == list(TASKS.values())
    with pytest.raises(DataError, match="has no folder of a known task"):
        tasks_in(tmp_path / "glue" / "RTE")
