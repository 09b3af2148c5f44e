"""Own data: any table with named columns, any classes, numbers, shares split off, and what is wrong with a file."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import MMapIndexedDataset

from preprocess import custom

TOPICS = ["World", "Sports", "Business", "Sci/Tech"]
GERMAN = [
    "Über den Dächern von Köln läuten die Glocken.",
    'Er sagte: "Nein, danke",\nund ging.',
    "Straße; Weg, Platz\tTabulator",
    "Zwölf Boxkämpfer jagen Viktor quer über den Sylter Deich.",
]


@pytest.fixture
def folder(tmp_path) -> Path:
    """Write 40 rows of four classes in order, and five for the dev set, as CSV with quotes and line breaks."""
    write_csv(tmp_path / "train.csv", [(TOPICS[n % 4], GERMAN[n % 4], f"Nr. {n}") for n in range(40)])
    write_csv(tmp_path / "dev.csv", [(TOPICS[n % 4], GERMAN[n % 4], f"dev {n}") for n in range(5)])
    return tmp_path


@pytest.fixture
def run(folder, gpt2_folder):
    def run(*flags: str) -> int:
        out = ["--encoder-dir", str(gpt2_folder), "--out", str(folder / "data")]
        files = (".csv", ".tsv", ".jsonl", ".txt", ".yaml", ".parquet")
        return custom.main([str(folder / flag) if flag.endswith(files) else flag for flag in flags] + out)

    return run


@pytest.fixture
def refused(run, capsys):
    """Return a function that runs the command and returns its error, which is one line."""

    def refused(*flags: str) -> str:
        assert run(*flags) == 1
        error = capsys.readouterr().err.strip()
        assert "\n" not in error
        return error

    return refused


def flags(train: str, dev: str = "", text: str = "title", name: str = "topics", label: str = "topic"):
    files = ("--train-file", train, "--dev-file", dev or train)
    return ("--name", name, *files, "--text", *text.split(), "--label", label)


PAIRS = flags("train.csv", "dev.csv", "title body")


def write_csv(path: Path, rows, names=("topic", "title", "body"), **how) -> Path:
    with path.open("w", newline="", encoding=how.pop("encoding", "utf-8")) as file:
        csv.writer(file, **how).writerows([names, *rows])
    return path


def write_lines(path: Path, labels) -> Path:
    path.write_text("".join(json.dumps({"topic": label, "title": "a"}) + "\n" for label in labels))
    return path


def meta(folder: Path, name: str = "topics") -> dict:
    return json.loads((folder / "data" / f"{name}-bin" / "meta.json").read_text())


def labels(folder: Path, split: str, name: str = "topics") -> list[str]:
    binarized = folder / "data" / f"{name}-bin" / "label"
    names = Dictionary.load(str(binarized / "dict.txt"))
    stored = MMapIndexedDataset(str(binarized / split))
    return [names[int(stored[row][0])] for row in range(len(stored))]


def texts(folder: Path, gpt2_folder: Path, split: str, column: int = 0, name: str = "topics") -> list[str]:
    from tokenizers import Tokenizer, decoders, models

    model = models.BPE.from_file(str(gpt2_folder / "encoder.json"), str(gpt2_folder / "vocab.bpe"))
    tokenizer = Tokenizer(model)
    tokenizer.decoder = decoders.ByteLevel()
    stored = folder / "data" / f"{name}-bin" / f"input{column}"
    dictionary = Dictionary.load(str(stored / "dict.txt"))
    rows = MMapIndexedDataset(str(stored / split))
    return [tokenizer.decode([int(dictionary[int(token)]) for token in row[:-1]]) for row in rows]


def test_csv_with_quotes_line_breaks_and_commas_keeps_every_character(run, folder, gpt2_folder):
    assert run(*PAIRS) == 0
    assert texts(folder, gpt2_folder, "train") == [GERMAN[n % 4] for n in range(40)]
    assert texts(folder, gpt2_folder, "train", 1) == [f"Nr. {n}" for n in range(40)]
    assert labels(folder, "train") == [TOPICS[n % 4] for n in range(40)]
    found = meta(folder)
    assert found["labels"] == ["Business", "Sci/Tech", "Sports", "World"]
    assert (found["num_classes"], found["pairs"], found["metric"]) == (4, True, "accuracy")


def write_parquet(path: Path, rows: list[dict[str, str]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), path)


def csv_with(**how):
    return lambda path, rows: write_csv(path, [row.values() for row in rows], **how)


@pytest.mark.parametrize(
    ("ending", "write", "more"),
    [
        (".csv", csv_with(encoding="utf-8-sig", lineterminator="\r\n"), ()),
        (".csv", csv_with(delimiter=";"), ("--delimiter", ";")),
        (".csv", csv_with(delimiter="\t"), ("--delimiter", "tab")),
        (".csv", csv_with(quoting=csv.QUOTE_ALL, lineterminator="\n"), ()),
        (".jsonl", lambda path, rows: path.write_text("".join(json.dumps(row) + "\n" for row in rows)), ()),
        (".parquet", write_parquet, ()),
    ],
)
def test_other_forms_of_a_table_give_the_same_data(run, folder, ending, write, more):
    def data() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in (folder / "data").rglob("*.bin")}

    assert run(*PAIRS) == 0
    expected = data()
    for name in ("train", "dev"):
        with (folder / f"{name}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        write(folder / f"{name}{ending}", rows)
    assert run(*(flag.replace(".csv", ending) for flag in PAIRS), *more, "--overwrite") == 0
    assert data() == expected


def test_given_class_names_decide_the_numbers_and_integers_are_numbers_only_of_other_names(run, folder):
    write_lines(folder / "a.jsonl", [n % 4 for n in range(8)])
    assert run(*flags("a.jsonl", name="t"), "--labels", *TOPICS) == 0
    assert labels(folder, "train", "t") == [TOPICS[n % 4] for n in range(8)]

    write_lines(folder / "a.jsonl", [1 + n % 10 for n in range(20)])
    assert run(*flags("a.jsonl", name="t"), "--overwrite") == 0
    assert meta(folder, "t")["labels"] == [str(n) for n in range(1, 11)]  # by value, not "1", "10", "2"
    assert labels(folder, "train", "t") == [str(1 + n % 10) for n in range(20)]


@pytest.mark.parametrize(
    ("train", "dev", "more", "expected"),
    [
        # Truth values are names, not the numbers 0 and 1.
        ([True, False, True], [False, True], ("--labels", "true", "false"), ["false", "true"]),
        ([True, False, True], [False, True], (), ["false", "true"]),
        ([0.0, 1.0, 2.0], [2, 1], (), ["2", "1"]),
        (["1", 2, "2"], [1, "2"], (), ["1", "2"]),
        (["neg", "pos"], [0, 1], ("--labels", "neg", "pos"), ["neg", "pos"]),
        # Numbers of classes whose order was guessed, and other spellings of a number.
        (["neg", "pos"], [0, 1], (), "dev.jsonl line 1 has the label 0"),
        (["1.0", "2.0"], [1, 2], (), "dev.jsonl line 1 has the label 1"),
        ([1, True, 0, False], [1], (), ["1"]),
        ([0, 1, 2, -1], [1], (), "--label topic has -1 beside 0 to 2"),
        ([0, 1, 2, -1], [1], ("--labels", "0", "1", "2"), ["1"]),
        (["1", "1.0", "01", "2"], ["2"], (), "different spellings of a number"),
        (["<pad>", "b"], ["b"], (), "'<pad>' cannot be a class name"),
        (["a\nb", "b"], ["b"], (), "cannot be a class name"),
        (["", ""], ["b"], (), "the training data has no labels"),
        ([[1], "b"], ["b"], (), ["b"]),
    ],
)
def test_types_of_labels(run, refused, folder, train, dev, more, expected):
    write_lines(folder / "train.jsonl", train)
    write_lines(folder / "dev.jsonl", dev)
    given = (*flags("train.jsonl", "dev.jsonl", name="t"), *more)
    if isinstance(expected, str):
        assert expected in refused(*given)
    else:
        assert run(*given) == 0
        assert labels(folder, "valid", "t") == expected


def test_rows_with_an_empty_text_are_kept_and_reported(run, folder, capsys):
    rows = [(TOPICS[n % 4], "" if n < 3 else f"title {n}") for n in range(8)]
    write_csv(folder / "t.csv", rows, ("topic", "title"))
    assert run(*flags("t.csv", "dev.csv")) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  train")]
    assert "8 sentences" in line
    assert "3 with an empty text" in line


def test_a_split_of_augment_that_overwrite_removes_is_named(run, folder, capsys):
    assert run(*PAIRS) == 0
    path = folder / "data/topics-bin/meta.json"
    found = json.loads(path.read_text())
    found["splits"]["more"] = {"sentences": 3, "labelled": False, "augmented": {"seed": 1}}
    path.write_text(json.dumps(found))
    capsys.readouterr()
    assert run(*flags("train.csv", "dev.csv"), "--overwrite") == 0
    assert "the split more of preprocess.augment" in capsys.readouterr().err


def test_a_test_set_with_an_empty_label_column_has_no_labels(run, folder):
    write_csv(folder / "test.csv", [("", GERMAN[n % 4], "x") for n in range(6)])
    assert run(*PAIRS, "--test-file", "test.csv") == 0
    assert meta(folder)["splits"]["test"]["labelled"] is False


def test_the_format_of_a_file_is_part_of_the_data(run, folder):
    (folder / "u.txt").write_text("title,body\na\tb\n".replace(",", "\t"))
    (folder / "u.tsv").write_bytes((folder / "u.txt").read_bytes())
    assert run(*PAIRS, "--unlabelled", "u.txt") == 0
    assert meta(folder)["splits"]["unlabelled"]["sentences"] == 2
    assert run(*PAIRS, "--unlabelled", "u.tsv") == 1
    assert run(*PAIRS, "--unlabelled", "u.tsv", "--overwrite") == 0
    assert meta(folder)["splits"]["unlabelled"]["sentences"] == 1


def test_regression_is_scaled_by_its_range_or_by_the_largest_training_value(run, folder):
    write_csv(folder / "s.csv", [("a", "-2.5"), ("b", "4"), ("c", "1e0")], names=("text", "stars"))
    given = (*flags("s.csv", text="text", name="stars", label="stars"), "--regression")
    assert run(*given, "--metric", "spearman") == 0
    stored = folder / "data/stars-bin/label/train.label"
    assert np.loadtxt(stored).tolist() == [-0.625, 1.0, 0.25]
    found = meta(folder, "stars")
    assert (found["score_scale"], found["metric"], found["num_classes"]) == (4.0, "spearman", 1)

    assert run(*given, "--score-range", "-5", "5", "--overwrite") == 0
    assert np.loadtxt(stored).tolist() == [-0.5, 0.8, 0.2]


def test_rows_without_label_become_unlabelled_text(run, folder, gpt2_folder):
    rows = [("" if n < 3 else TOPICS[n % 4], f"title {n}") for n in range(12)]
    write_csv(folder / "t.csv", rows, names=("topic", "title"))
    (folder / "more.txt").write_text("one more\n\nand another\r\n")
    given = flags("t.csv", "dev.csv")
    assert run(*given) == 0
    assert meta(folder)["splits"]["train"]["dropped_why"] == {"no label": 3}
    assert "unlabelled" not in meta(folder)["splits"]

    more = ("--keep-unlabelled", "--limit-train", "5", "--unlabelled", "more.txt", "--overwrite")
    assert run(*given, *more) == 0
    kept = texts(folder, gpt2_folder, "train")
    unlabelled = texts(folder, gpt2_folder, "unlabelled")
    assert len(kept) == 5
    assert unlabelled[:5] == ["one more", "and another", "title 0", "title 1", "title 2"]
    assert sorted(kept + unlabelled[2:]) == sorted(f"title {n}" for n in range(12))
    assert not (folder / "data/topics-bin/label/unlabelled.idx").exists()


def test_repeated_rows_and_leaks_are_reported_and_dropped_if_asked(run, folder, capsys):
    rows = [("World", "same"), ("Sports", "same"), ("World", "same"), ("World", "other"), ("Sports", "third")]
    write_csv(folder / "t.csv", rows, names=("topic", "title"))
    given = flags("t.csv")
    assert run(*given) == 0
    said = capsys.readouterr().err
    assert "train: 2 rows repeat the text of an earlier row, 1 of them with another label; kept" in said
    assert "valid: the texts of 5 of 5 rows are also in the training set" in said
    assert meta(folder)["splits"]["train"]["sentences"] == 5

    assert run(*given, "--drop-duplicates", "--overwrite") == 0
    assert meta(folder)["splits"]["train"]["dropped_why"] == {"repeated": 2}
    assert labels(folder, "train") == ["World", "World", "Sports"]


def test_shares_are_split_off_without_overlap_and_several_dev_files_are_several_splits(
    run, folder, gpt2_folder
):
    given = ("--name", "topics", "--train-file", "train.csv", "--text", "body", "--label", "topic")
    shares = ("--split-dev", "0.25", "--split-test", "0.2", "--limit-train", "20")
    assert run(*given, *shares) == 0
    parts = [texts(folder, gpt2_folder, split) for split in ("train", "valid", "test")]
    assert list(map(len, parts)) == [20, 8, 8]
    assert len({*sum(parts, [])} & {f"Nr. {n}" for n in range(40)}) == 36
    found = meta(folder)
    train, valid = found["splits"]["train"], found["splits"]["valid"]
    assert (train["available"], train["sha256"]) == (40, valid["sha256"])
    assert found["options"] | {"split_dev": 0.25, "limit_train": 20, "seed": 1} == found["options"]

    assert run(*given, "--dev-file", "dev.csv", "train.csv", "--overwrite") == 0
    sizes = {split: counts["sentences"] for split, counts in meta(folder)["splits"].items()}
    assert sizes == {"train": 40, "valid": 5, "valid1": 40}


def test_a_task_file_has_the_same_effect_as_flags_which_win(run, folder):
    settings = "name: topics\ntrain_file: train.csv\ndev-file: [dev.csv]\ntext: [title, body]\nlabel: topic\n"
    (folder / "topics.yaml").write_text(settings + "metric: mcc\nbatch-size: 16\nlr: 3e-5\n")
    assert run("--task-file", "topics.yaml") == 0
    found = meta(folder)
    assert found["settings"] == {"batch_size": 16, "lr": 3e-5}
    assert (found["metric"], found["labels"][0]) == ("mcc", "Business")
    # The data does not depend on the metric.
    assert run("--task-file", "topics.yaml", "--metric", "macro_f1") == 0
    assert meta(folder)["metric"] == "macro_f1"
    assert meta(folder)["made_from"] == found["made_from"]
    assert run("--task-file", "topics.yaml", "--labels", *TOPICS) == 1
    assert run("--task-file", "topics.yaml", "--labels", *TOPICS, "--overwrite") == 0
    assert meta(folder)["labels"] == TOPICS


def test_files_without_header_take_their_columns_from_the_flag(run, folder):
    for name in ("train.csv", "dev.csv"):
        lines = (folder / name).read_text().split("\n", 1)[1]
        (folder / name).write_text(lines)
    assert run(*PAIRS, "--columns", "topic", "title", "body") == 0
    assert meta(folder)["splits"]["train"]["sentences"] == 40


def test_a_first_row_with_a_class_of_its_own_is_no_header_below_a_header(run, folder):
    rows = [("Rare", "a", "b"), *((TOPICS[n % 4], GERMAN[n % 4], f"Nr. {n}") for n in range(8))]
    write_csv(folder / "t.csv", rows)
    columns = ("--columns", "topic", "title", "body")
    assert run(*PAIRS, "--train-file", "t.csv", *columns) == 0
    assert meta(folder)["splits"]["train"]["sentences"] == 9


HEADER = "category,headline,text"


@pytest.mark.parametrize(
    ("header", "more", "found"),
    [
        (HEADER, (), "train.csv line 1 has the label 'category', as no other row"),
        (HEADER, ("--labels", *TOPICS), "train.csv line 1 has the label 'category', expected"),
        (HEADER, ("--regression",), "train.csv line 1 has the label 'category', expected"),
        ("Topic,Title,Body", (), "train.csv line 1 is a header (Topic, Title, Body)"),
    ],
)
def test_a_header_beside_the_flag_columns_is_an_error(refused, folder, header, more, found):
    for name in ("train.csv", "dev.csv"):
        lines = (folder / name).read_text().split("\n", 1)[1]
        (folder / name).write_text(f"{header}\n{lines}")
    error = refused(*PAIRS, "--columns", "topic", "title", "body", *more)
    assert found in error
    assert "--columns" in error


def test_class_names_of_a_task_file_may_begin_with_a_dash(run, folder):
    names = ["-neg", "-1", "0", "--"]
    write_csv(folder / "signs.csv", [(names[n % 4], GERMAN[n % 4]) for n in range(8)], ("-label", "-text"))
    content = {"name": "signs", "train-file": "signs.csv", "dev-file": "signs.csv"}
    content |= {"text": "-text", "label": "-label", "labels": names}
    (folder / "signs.yaml").write_text(json.dumps(content))
    assert run("--task-file", "signs.yaml") == 0
    assert meta(folder, "signs")["labels"] == names
    assert labels(folder, "valid", "signs") == names * 2


TWO = "World,a\nSports,b\n"


@pytest.mark.parametrize(
    ("rows", "more", "found"),
    [
        ("World,a\nMars,b\n", ("--labels", "World", "Sports"), "bad.csv line 3 has the label 'Mars'"),
        ('World,"a\nb"\nMars,c\n', ("--labels", "World", "Sports"), "bad.csv line 4 has the label 'Mars'"),
        (TWO, ("--text", "headline"), "no column 'headline' (found: topic, title)"),
        ('World,a\nSports,"b\n', (), "bad.csv line 3 is not valid CSV"),
        (f"{TWO}World,b,c\n", ("--strict",), "bad.csv line 4: 3 fields instead of 2"),
        ("World,a\nWorld,b\n", (), "--label topic: the training data has the class World only"),
        ("0.5,a\n1.5,b\n", (), "--label topic has numbers such as"),
        ("World,a\n", ("--regression",), "bad.csv line 2 has the label 'World', expected for bad"),
        ("7,a\n", ("--regression", "--score-range", "0", "5"), "a score from 0 to 5"),
        (TWO, ("--metric", "macro_f1"), "--metric macro_f1 is not logged for 2 classes"),
        (TWO, ("--name", "sst2"), "--name sst2 is a task of `preprocess.glue`"),
        (TWO, ("--label", "title"), "name a column twice"),
    ],
)
def test_an_error_is_one_line_with_file_and_line_and_leaves_nothing(refused, folder, rows, more, found):
    (folder / "bad.csv").write_text(f"topic,title\n{rows}")
    assert found in refused(*flags("bad.csv", name="bad"), *more)
    assert not (folder / "data/bad-bin").exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("name: [x", "cannot be read"),
        ("colour: red", "unknown setting colour"),
        ("labels: [no, yes]", "put names in quotes"),
        ("lr: fast", "lr is 'fast'"),
        ("batch-size: 32.5", "batch-size is 32.5"),
        ("batch-size: true", "batch-size is True"),
        ('regression: "yes"', "regression is 'yes': give true or false"),
        ("labels: [2024-13-01, b]", "cannot be read"),
        ("name: [a, b]", "name takes one value, not 2"),
        ("limit-train: many", "argument --limit-train: invalid int value: 'many'"),
        ("score-range: 5", "argument --score-range: expected 2 arguments"),
    ],
)
def test_an_invalid_task_file_is_one_line(refused, folder, content, found):
    (folder / "t.yaml").write_text(content)
    assert found in refused("--task-file", "t.yaml")
