"""Binarizes your own labelled data for fairseq: CSV, TSV, JSON lines, parquet or arrow files with named columns.

    python -m preprocess.custom --name topics --train-file train.csv --dev-file dev.csv --text title body \\
        --label topic --encoder-dir gpt2_bpe --out data

creates data/topics-bin, which every command takes like the data of a GLUE task (see `preprocess.glue`). Text is one
column, or two for pairs. The class names are those of the training data in sorted order (numbers by value), unless
--labels gives them; --regression reads numbers. The same settings can be in a YAML file:

    python -m preprocess.custom --task-file topics.yaml --encoder-dir gpt2_bpe --out data

Its keys are the names of the flags without dashes (name, train-file, text, label, ...), and batch-size and lr, which
`experiments.py` uses as defaults. Paths are relative to the file.
"""

import argparse
import gc
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml

from .binarize_options import add_binarize_options, binarize_all, check_options, check_share
from .commands import exit_status
from .errors import DataError
from .rows import label_name, plain_label
from .sources import Source
from .tables import Table, column, read_table
from .tasks import TASKS, Task
from .vocabulary import SPECIALS

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
CLASS_METRICS = ("accuracy", "macro_f1", "f1", "mcc")
REGRESSION_METRICS = ("pearson", "spearman")
FEW_CLASSES = 20  # more classes than this need two rows each, unless --labels names them
ANY_SCORE = (-sys.float_info.max, sys.float_info.max)
LISTS = ("train-file", "dev-file", "test-file", "text", "labels", "columns", "unlabelled", "score-range")
PATHS = ("train-file", "dev-file", "test-file", "unlabelled", "encoder-dir", "out")
SETTINGS = {"batch-size": int, "lr": float}  # training settings, in a task file only


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments

    def work() -> None:
        parser, task_file = _parser(), _Parser(add_help=False, allow_abbrev=False)
        task_file.add_argument("--task-file", type=Path)
        path = task_file.parse_known_args(arguments)[0].task_file
        given, settings = ([], {}) if path is None else _read_task_file(path, parser)
        # The command line comes last, and wins.
        _run(parser.parse_args([*given, *arguments]), settings)

    return exit_status("preprocess.custom", work, Path("--out"), "partial output was removed.")


def _run(args: argparse.Namespace, settings: dict[str, Any]) -> None:
    check_options(args)
    _check(args)
    sources = _sources(args)
    task = _task(args, sources)
    binarize_all({task: sources}, args, args.split_test, "drop" if args.drop_duplicates else "keep", settings)
    if task.regression:
        print(f"  numbers from {task.label[0]}, divided by {task.score_scale:g}")
    else:
        print(f"  classes from {task.label[0]}: {', '.join(task.labels)}")


def _check(args: argparse.Namespace) -> None:
    """Raise DataError for missing or contradicting flags."""
    for flag, value in (("--name", args.name), ("--text", args.text), ("--label", args.label)):
        if not value:
            raise DataError(f"{flag} is missing: give it, or a --task-file that has it.")
    if not NAME.fullmatch(args.name):
        raise DataError(f"--name {args.name!r} is no file name: use letters, digits, `-`, `_` and `.` only.")
    known = {name.lower().replace("-", "") for task in TASKS.values() for name in (task.name, *task.folders)}
    if args.name.lower().replace("-", "") in known:
        raise DataError(f"--name {args.name} is a task of `preprocess.glue`: give another name.")
    if len(args.text) > 2:
        raise DataError(
            f"--text {' '.join(args.text)} names {len(args.text)} columns: give one, or two for pairs."
        )
    if args.label in args.text or len(set(args.text)) < len(args.text):
        raise DataError(
            f"--text {' '.join(args.text)} and --label {args.label} name a column twice: correct them."
        )
    if args.regression and args.labels:
        raise DataError("--labels names classes, but --regression reads numbers: remove one of them.")
    if args.score_range and not args.regression:
        raise DataError("--score-range has no effect on classes: add --regression, or remove the flag.")
    if args.score_range and not -math.inf < args.score_range[0] < args.score_range[1] < math.inf:
        raise DataError(
            f"--score-range {args.score_range[0]:g} {args.score_range[1]:g}: give the lower number first."
        )
    if args.labels and len(args.labels) == 1:
        raise DataError(f"--labels {args.labels[0]} is a single name: give all, separated by spaces.")
    metrics = REGRESSION_METRICS if args.regression else CLASS_METRICS
    if args.metric not in (None, *metrics):
        what = "numbers" if args.regression else "classes"
        raise DataError(f"--metric {args.metric} is no metric of {what}: choose from {', '.join(metrics)}.")
    if args.delimiter is not None and len(args.delimiter) != 1:
        raise DataError(
            f"--delimiter {args.delimiter!r} has {len(args.delimiter)} characters: give one, or `tab`."
        )
    check_share("--split-test", args.split_test)


def _sources(args: argparse.Namespace) -> dict[str, Source]:
    """Return the source of each split. Raises DataError for a missing file, or a split that is given twice."""
    sources = {"train": Source(tuple(args.train_file))} if args.train_file else {}
    for split, paths in (("valid", args.dev_file), ("test", args.test_file)):
        sources |= {f"{split}{number or ''}": Source((path,)) for number, path in enumerate(paths or ())}
    flags = {"train": "--train-file", "valid": "--dev-file", "test": "--test-file"}
    for split, source in sources.items():
        for path in source.paths:
            if not path.is_file():
                raise DataError(
                    f"{flags[split.rstrip('0123456789')]} {path} is not a file: correct the path."
                )
    if not sources:
        raise DataError("--train-file, --dev-file and --test-file are all missing: give one.")
    for split, flag, share in (
        ("valid", "--split-dev", args.split_dev),
        ("test", "--split-test", args.split_test),
    ):
        if share is not None and "train" not in sources:
            raise DataError(f"{flag} {share} needs a training file: give --train-file, or remove the flag.")
        if share is not None and split in sources:
            raise DataError(
                f"{flag} {share} conflicts with {flags[split]} {sources[split].names}: remove one."
            )
    if "train" in sources and "valid" not in sources and args.split_dev is None:
        raise DataError(
            "--dev-file is missing: give one, or --split-dev 0.1 to use a tenth of the training data."
        )
    return sources


def _task(args: argparse.Namespace, sources: dict[str, Source]) -> Task:
    """Return the task; its class names or scale come from the training data unless flags give them."""
    task = Task(
        args.name,
        tuple((name,) for name in args.text),
        (args.label,),
        (),
        metric=args.metric or ("pearson" if args.regression else "accuracy"),
        splits=dict.fromkeys((*sources, *_shares(args)), ()),
        headerless=tuple(args.columns or ()),
        unlabelled="",
        delimiter=args.delimiter,
        numbered=bool(args.labels),  # an order that we guessed gives no class numbers
        scores=tuple(args.score_range or ANY_SCORE),
    )
    fields = {name: getattr(task, name) for name in task.__dataclass_fields__}
    if args.regression:
        return Task(**fields | {"score_scale": _scale(args, task, sources)})
    labels = tuple(args.labels or _class_names(task, sources))
    if len(labels) < 2:
        found = f"the class {labels[0]} only" if labels else "no labels"
        raise DataError(f"--label {args.label}: the training data has {found}: give --labels.")
    for name in labels:
        if labels.count(name) > 1 or not name.strip() or len(name.splitlines()) > 1 or name in SPECIALS:
            raise DataError(
                f"--label {args.label}: {name!r} cannot be a class name (empty, twice, of several lines, or a special token "
                "of fairseq): correct the data or --labels."
            )
    if task.metric == ("macro_f1" if len(labels) == 2 else "f1"):
        other = "f1" if len(labels) == 2 else "macro_f1"
        raise DataError(f"--metric {task.metric} is not logged for {len(labels)} classes: use {other}.")
    return Task(**fields | {"labels": labels})


def _shares(args: argparse.Namespace) -> list[str]:
    return ["valid"] * (args.split_dev is not None) + ["test"] * (args.split_test is not None)


def _training_tables(task: Task, sources: dict[str, Source], flag: str) -> list[Table]:
    """Return the training files. Raises DataError without one, because the value of a flag comes from it."""
    if "train" not in sources:
        raise DataError(f"{flag} is missing, and there is no --train-file to take it from: give it.")
    source = sources["train"]
    return [
        read_table(path, content, [*task.text, task.label], task.headerless, task.delimiter)
        for path, content in zip(source.paths, source.contents, strict=True)
    ]


def _labels_in(table: Table, task: Task, first: int = 0) -> list[Any]:
    """Return the labels of the rows from `first` on as they are stored, without missing ones."""
    labels = column(table, task.label)
    found = [
        plain_label(table.rows[number][labels])
        for number in range(first, len(table.rows))
        if number not in table.bad
    ]
    return [label for label in found if label is not None and label == label and label_name(label)]


def _class_names(task: Task, sources: dict[str, Source]) -> list[str]:
    """Return the sorted class names; whole numbers by value."""
    tables = _training_tables(task, sources, "--labels")
    labels = [label for table in tables for label in _labels_in(table, task)]
    names = set(map(label_name, labels))
    if len(names) > max(FEW_CLASSES, len(labels) // 2):
        raise DataError(
            f"--label {task.label[0]} has {len(names):,} different values in {len(labels):,} rows: name the column of the "
            "classes, add --regression for numbers, or give the class names with --labels."
        )
    _check_first_rows(tables, task, names)
    counted = {str(number) for number in range(len(names) - 1)}
    if -1 in labels and names == {"-1", *counted}:
        raise DataError(
            f"--label {task.label[0]} has -1 beside 0 to {len(names) - 2}, which may mean a missing label: give the class "
            f"names with --labels, for example --labels {' '.join(sorted(counted, key=int))}."
        )
    try:
        numbers = {name: float(name) for name in names}
    except ValueError:
        return sorted(names)
    if len(set(numbers.values())) < len(names):
        raise DataError(
            f"--label {task.label[0]} has different spellings of a number ({', '.join(sorted(names)[:5])}): correct it."
        )
    if any(not value.is_integer() for value in numbers.values()):
        raise DataError(
            f"--label {task.label[0]} has numbers such as {max(names, key=len)}: add --regression, or give the class names "
            "with --labels."
        )
    return sorted(names, key=numbers.__getitem__)


def _check_first_rows(tables: Sequence[Table], task: Task, names: set[str]) -> None:
    """Raise DataError if the first line of a file without header seems to be one: no other row has its label."""
    others = {label_name(label) for table in tables for label in _labels_in(table, task, first=1)}
    for table in tables:
        if table.typed or (table.lines[0] if table.lines else table.first) > 1:
            continue  # it has a header
        name = label_name(plain_label(table.rows[0][table.names.index(task.label[0])]))
        if name in names - others:
            raise DataError(
                f"{table.place(0)} has the label {name!r}, as no other row: if this line is a header, remove --columns; "
                "else give the class names with --labels."
            )


def _scale(args: argparse.Namespace, task: Task, sources: dict[str, Source]) -> float:
    """Return the largest absolute score: of --score-range, else of the training data."""
    if args.score_range:
        return max(map(abs, args.score_range))
    scores = []
    for table in _training_tables(task, sources, "--score-range"):
        for label in _labels_in(table, task):
            try:
                scores.append(abs(float(label)))
            except (TypeError, ValueError):
                continue  # reported with its line when the rows are read
    return max([score for score in scores if score < math.inf], default=0.0) or 1.0


def _read_task_file(path: Path, parser: argparse.ArgumentParser) -> tuple[list[str], dict[str, Any]]:
    """Return the settings of a task file as flags, and the training settings. Raises DataError for an invalid file."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise DataError(f"--task-file {path} cannot be read ({reason}): correct it.") from None
    if not isinstance(content, dict):
        raise DataError(f"--task-file {path} has no settings: write lines such as `label: topic`.")

    actions = {option[2:]: action for action in parser._actions for option in action.option_strings}
    flags, settings = [], {}
    for key, value in content.items():
        name = str(key).replace("_", "-")
        if name in SETTINGS:
            settings[name.replace("-", "_")] = _setting(path, name, value)
            continue
        if name not in actions or name in ("task-file", "help"):
            known = ", ".join(sorted({*actions, *SETTINGS} - {"", "task-file", "help"}))
            raise DataError(f"--task-file {path} has the unknown setting {key}: choose from {known}.")
        values = value if isinstance(value, list) else [value]
        if isinstance(actions[name], argparse._StoreTrueAction):
            if not isinstance(value, bool):
                raise DataError(f"--task-file {path}: {key} is {value!r}: give true or false.")
            flags += [f"--{name}"] if value else []
            continue
        if len(values) > 1 and name not in LISTS:
            raise DataError(f"--task-file {path}: {key} takes one value, not {len(values)}.")
        if any(isinstance(each, bool | dict | list) or each is None for each in values):
            raise DataError(
                f'--task-file {path}: {key} has the value {value!r}: put names in quotes, as in "yes".'
            )
        texts = [str(path.parent / str(each)) if name in PATHS else str(each) for each in values]
        texts = [f" {text}" if re.match("-.", text) else text for text in texts]
        flags += [f"--{name}", *texts]
    return flags, settings


def _name(text: str) -> str:
    """Return a name; the space before a dash is removed, without which argparse would read the name as a flag."""
    return text[1:] if text.startswith(" -") else text


def _setting(path: Path, name: str, value: object) -> float:
    try:
        number = SETTINGS[name](str(value))  # int(32.5) would be 32
    except (TypeError, ValueError):
        number = 0
    if not 0 < number < math.inf:
        raise DataError(f"--task-file {path}: {name} is {value!r}: give a number above 0.")
    return number


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise DataError(
            f"{message}: correct the flag, or its line in the --task-file (--help shows all flags)."
        )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m preprocess.custom",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--task-file", type=Path, metavar="YAML", help="file with settings; flags win (default: none)"
    )
    data.add_argument("--name", metavar="NAME", help="name of the task; <NAME>-bin is created in --out")
    data.add_argument(
        "--train-file", type=Path, nargs="+", metavar="FILE", help="training data; several files are joined"
    )
    data.add_argument(
        "--dev-file",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="dev sets: the splits valid, valid1, ... The first selects the best checkpoint",
    )
    data.add_argument(
        "--test-file", type=Path, nargs="+", metavar="FILE", help="test sets: the splits test, test1, ..."
    )
    data.add_argument(
        "--text", type=_name, nargs="+", metavar="COLUMN", help="text column, or both columns of pairs"
    )
    data.add_argument("--label", type=_name, metavar="COLUMN", help="column of class names or numbers")
    data.add_argument(
        "--labels",
        type=_name,
        nargs="+",
        metavar="NAME",
        help="class names in the order of their numbers (default: those of the training data, sorted)",
    )
    data.add_argument(
        "--regression", action="store_true", help="labels are numbers (default: names of classes)"
    )
    data.add_argument(
        "--score-range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="lowest and highest number; labels are divided by the larger absolute value (default: that of the training "
        "data)",
    )
    data.add_argument(
        "--metric",
        metavar="NAME",
        help=f"metric of the best checkpoint, for classes {', '.join(CLASS_METRICS)}; for numbers "
        f"{', '.join(REGRESSION_METRICS)}. f1 is that of the second of two classes, macro_f1 the mean over more than two "
        "(default: accuracy; pearson for numbers)",
    )
    data.add_argument(
        "--delimiter",
        type=lambda text: "\t" if text == "tab" else text,
        metavar="CHARACTER",
        help="delimiter of files with quoted fields, or `tab` (default: a comma in .csv; other text is tab-separated "
        "without quotes)",
    )
    data.add_argument(
        "--columns",
        type=_name,
        nargs="+",
        metavar="NAME",
        help="column names of CSV and TSV files without a header line",
    )
    data.add_argument(
        "--split-test",
        type=float,
        metavar="SHARE",
        help="use this share of the training sentences, chosen by --seed, as test set (default: none)",
    )
    data.add_argument(
        "--drop-duplicates",
        action="store_true",
        help="drop training rows with the text of an earlier row (default: keep and report them)",
    )
    add_binarize_options(parser)
    return parser


if __name__ == "__main__":
    gc.disable()  # many short lists without cycles: scanning them would take a tenth of the time
    sys.exit(main())
