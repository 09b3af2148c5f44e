from pathlib import Path

import pytest

from preprocess.errors import DataError
from preprocess.rows import read_rows
from preprocess.tables import Table, read_table
from preprocess.tasks import TASKS


def table(rows, names=("sentence1", "sentence2", "label"), **other):
    return Table(Path("train.tsv"), list(names), rows, first=2, **other)


def test_blanks_around_a_sentence_go_those_inside_stay():
    rows = read_rows(table([[" a  b \xa0", "c\t", "entailment "]]), TASKS["RTE"], "train")
    assert rows.texts == [["a  b"], ["c"]]
    assert rows.labels == [0]


@pytest.mark.parametrize(
    ("task", "values", "labels"),
    [
        ("RTE", ["entailment"], [0]),
        ("MNLI", ["neutral"], [1]),
        ("SNLI", ["contradiction"], [2]),
        ("WNLI", ["1"], [1]),
        ("STS-B", ["3.800", "0.0"], [0.76, 0.0]),
        # Of Hugging Face.
        ("RTE", [1], [1]),
        ("MNLI", [2, "neutral"], [2, 1]),
        ("STS-B", [2.5], [0.5]),
        ("SST-2", [1], [1]),
    ],
)
def test_labels(task, values, labels):
    names = ("sentence1", "sentence2", "label") if TASKS[task].pairs else ("sentence", "idx", "label")
    typed = not isinstance(values[0], str)
    given = table([["a", "b", value] for value in values], names, typed=typed)
    assert read_rows(given, TASKS[task], "train").labels == pytest.approx(labels, abs=1e-12)


UNKNOWN = {"RTE": ["yes", "", "-", -1, 2, ["entailment"]], "STS-B": ["5.1", "nan", None]}


@pytest.mark.parametrize(("task", "value"), [(task, value) for task in UNKNOWN for value in UNKNOWN[task]])
def test_an_unknown_label_is_an_error_with_its_line(task, value):
    good, typed = {"RTE": "entailment", "STS-B": "1.0"}[task], not isinstance(value, str)
    with pytest.raises(DataError, match=rf"train.tsv line 3 has the label .*, expected for {task}: "):
        read_rows(table([["a", "b", good], ["c", "d", value]], typed=typed), TASKS[task], "train")


@pytest.mark.parametrize(("value", "typed"), [("-", False), ("-", True), (-1, True)])
def test_rows_without_a_gold_label_are_dropped_and_counted(value, typed):
    good = [["a", "b", "neutral"], ["c", "d", value], ["e", "f", "entailment"]]
    rows = read_rows(table(good, typed=typed), TASKS["MNLI"], "train", strict=True)
    assert (rows.texts, rows.labels, rows.dropped) == ([["a", "e"], ["b", "f"]], [1, 0], {"no label": 1})


def test_malformed_rows_are_dropped_reported_and_with_strict_an_error():
    given = [["a", "b", "entailment"], ["c"], ["d", "e", "not_entailment"]]
    rows = read_rows(table(given, bad={1: "1 fields instead of 3"}), TASKS["RTE"], "train")
    assert rows.texts == [["a", "d"], ["b", "e"]]
    assert rows.dropped == {"malformed": 1}
    assert rows.reports == ["train.tsv line 3: 1 fields instead of 3"]

    with pytest.raises(DataError, match="line 3: 1 fields instead of 3; 1 malformed rows"):
        read_rows(table(given, bad={1: "1 fields instead of 3"}), TASKS["RTE"], "train", strict=True)


def test_a_test_row_is_kept_whatever_it_is():
    given = [["a", "b"], ["c"], ["d", "e"]]
    rows = read_rows(table(given, ("sentence1", "sentence2"), bad={1: "1 fields"}), TASKS["RTE"], "test")
    assert rows.texts == [["a", "c", "d"], ["b", "", "e"]]
    assert (rows.labels, rows.repaired, rows.dropped) == (None, 1, {})


def test_a_test_split_has_labels_when_its_file_has():
    assert read_rows(table([["a", "b", "neutral"]]), TASKS["SNLI"], "test").labels == [1]
    assert read_rows(table([["a", "b", -1]], typed=True), TASKS["MNLI"], "test").labels is None


def test_values_that_are_not_text_are_malformed():
    given = [["a", None, 0], ["a", "lone \ud83d half", 0], ["a", "b", 1]]
    rows = read_rows(table(given, typed=True), TASKS["RTE"], "train")
    assert rows.texts == [["a"], ["b"]]
    assert rows.dropped == {"malformed": 2}


def test_a_file_without_one_good_row_is_an_error():
    with pytest.raises(DataError, match="none of its 1 rows is usable"):
        read_rows(table([["a"]], bad={0: "1 fields instead of 3"}), TASKS["RTE"], "train")


def test_chosen_rows_keep_their_labels_and_know_how_many_there_were():
    rows = read_rows(table([[c, c, "entailment"] for c in "abcd"]), TASKS["RTE"], "train").take([1, 3])
    assert rows.texts == [["b", "d"], ["b", "d"]]
    assert (rows.labels, rows.available) == ([0, 0], 4)


ONE, FIVE = ["label1"], [f"label{number}" for number in range(1, 6)]


@pytest.mark.parametrize("annotators", [ONE, FIVE])
@pytest.mark.parametrize("order", ["gold last", "gold first"])
def test_rows_of_one_and_of_five_annotators_in_one_file(annotators, order):
    def row(number, labels, gold):
        text = [str(number), f"a{number}", f"b{number}"]
        return [*text, *labels, gold] if order == "gold last" else [gold, *text, *labels]

    given = [
        row(0, ["neutral"], "neutral"),
        row(1, ["entailment", "entailment", "neutral", "neutral", ""], "entailment"),
        row(2, ["neutral", "entailment", "contradiction", "neutral", "entailment"], "-"),
        row(3, ["contradiction "], "contradiction"),
    ]
    names = row("", annotators, "gold_label")
    names[names.index("a")], names[names.index("b")] = "sentence1", "sentence2"
    raw = "".join("\t".join(fields) + "\n" for fields in [names, *given]).encode()
    read = read_table(Path("train.tsv"), raw, [*TASKS["SNLI"].text, TASKS["SNLI"].label], ())

    rows = read_rows(read, TASKS["SNLI"], "train", strict=True)
    assert rows.texts == [["a0", "a1", "a3"], ["b0", "b1", "b3"]]
    assert rows.labels == [1, 0, 2]
    assert rows.dropped == {"no label": 1}
    assert rows.reports == []


@pytest.mark.parametrize(
    "row",
    [
        ["0", "a", "stray", "tab", "neutral", "neutral"],
        ["0", "no hypothesis", *["neutral"] * 5, "neutral"],
        ["0", "a", "b", "c", "d", "e", "f", "g", "neutral"],
    ],
)
def test_other_widths_stay_malformed(row):
    names = ("index", "sentence1", "sentence2", "label1", "gold_label")
    good = ["1", "a", "b", "neutral", "neutral"]
    given = table([good, row], names, bad={1: f"{len(row)} fields instead of 5"})
    rows = read_rows(given, TASKS["SNLI"], "train")
    assert (rows.texts, rows.labels) == ([["a"], ["b"]], [1])
    assert rows.dropped == {"malformed": 1}
    assert rows.reports == [f"train.tsv line 3: {len(row)} fields instead of 5"]
