"""Binarizes the raw text of GLUE, AX and SNLI for fairseq.

    python -m preprocess.glue --glue-dir glue --tasks MRPC,SST-2 --encoder-dir gpt2_bpe --out data

creates data/MRPC-bin and data/SST-2-bin. Each has input0/, input1/ (pairs) and label/ in fairseq's memory-mapped
format, and meta.json. Sentences are stored with `</s>` but without `<s>`, as fairseq's `sentence_prediction`
expects with `--init-token 0 --separator-token 2`.
"""

import argparse
import gc
import sys
from collections.abc import Iterable
from pathlib import Path

from .binarize import SPECIALS_IN_PAIR, binarize
from .commands import add_encoder_options, exit_status
from .encoders import load_encoder, use_cores
from .errors import DataError
from .meta import Options
from .sources import find_sources, tasks_in
from .tasks import MNLI_SPLITS, TASKS, Task, find_task

SHORTEST = SPECIALS_IN_PAIR["roberta"] + 2  # one text token in each sentence of a pair


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    args = _parser().parse_args(arguments)
    return exit_status("preprocess.glue", lambda: _run(args), args.out, "partial output was removed.")


def _run(args: argparse.Namespace) -> None:
    _check_numbers(args)
    tasks, splits = _tasks(args), _splits(args)
    if args.out.exists() and not args.out.is_dir():
        raise DataError(f"--out {args.out} is a file: name a folder; <TASK>-bin is created in it.")
    given = {"train": args.train_file, "valid": args.dev_file, "test": args.test_file}
    given = {split: path for split, path in given.items() if path}
    if given and len(tasks) > 1:
        raise DataError(
            f"--tasks {args.tasks or 'all'} names {len(tasks)} tasks, but --train-file, --dev-file and --test-file name "
            "files of one task: run the command once per task."
        )

    # Find all files before encoding the first.
    sources = {
        task: find_sources(task, args.glue_dir, given, splits, args.split_dev is not None) for task in tasks
    }
    use_cores(args.workers)
    encoder = load_encoder(args.encoder_dir, args.encoder)
    options = Options(args.max_positions, args.limit_train, args.split_dev, args.seed, args.strict)

    args.out.mkdir(parents=True, exist_ok=True)
    for task in tasks:
        meta = binarize(task, sources.pop(task), encoder, options, args.out, args.overwrite, _note)
        if meta is None:
            print(f"{args.out / task.name}-bin is up to date.")
        else:
            _print_summary(meta, args.out / f"{task.name}-bin")


def _tasks(args: argparse.Namespace) -> list[Task]:
    if args.glue_dir is not None and not args.glue_dir.is_dir():
        raise DataError(f"--glue-dir {args.glue_dir} is not a folder: give the parent of the task folders.")
    if args.tasks is not None:
        return list(dict.fromkeys(find_task(name) for name in _names("--tasks", args.tasks, "task", TASKS)))
    if args.glue_dir is None:
        raise DataError(
            "--glue-dir and --tasks are both missing: give one of them, with the files of the task."
        )
    return tasks_in(args.glue_dir)


def _splits(args: argparse.Namespace) -> list[str]:
    return [] if args.splits is None else _names("--splits", args.splits, "split", MNLI_SPLITS)


def _names(flag: str, given: str, what: str, known: Iterable[str]) -> list[str]:
    names = [name.strip() for name in given.split(",") if name.strip()]
    if not names:
        raise DataError(f"{flag} {given!r} names no {what}: choose from {', '.join(known)}.")
    return names


def _print_summary(meta: dict, folder: Path) -> None:
    print(f"{folder}  ({meta['encoder']['name']}, up to {meta['max_positions']} tokens)")
    for split, counts in meta["splits"].items():
        line = f"  {split:<7}{counts['sentences']:>9,} {'pairs' if meta['pairs'] else 'sentences'}"
        line += f" of {counts['available']:,}" if counts["available"] != counts["sentences"] else ""
        line += f"  {counts['dropped']:,} dropped  {counts['truncated']:,} cut"
        why = ", ".join(f"{number:,} {reason}" for reason, number in counts["dropped_why"].items())
        line += f"  ({why})" if why else ""
        line += "" if counts["labelled"] else "  no labels"
        print(f"{line}  from {counts['source']}")


def _note(line: str) -> None:
    print(line, file=sys.stderr)


def _check_numbers(args: argparse.Namespace) -> None:
    checks = [
        ("--max-positions", args.max_positions, lambda n: n >= SHORTEST, f"at least {SHORTEST}"),
        ("--workers", args.workers, lambda n: n >= 1, "at least 1"),
        ("--limit-train", args.limit_train, lambda n: n >= 1, "at least 1"),
        ("--split-dev", args.split_dev, lambda share: 0 < share < 1, "between 0 and 1"),
    ]
    for flag, value, allowed, rule in checks:
        if value is not None and not allowed(value):
            raise DataError(f"{flag} {value} is out of range: give a number {rule}.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m preprocess.glue",
        description="Binarizes GLUE tasks, AX and SNLI for fairseq, with a meta.json in each folder.",
    )

    files = parser.add_argument_group("input")
    files.add_argument(
        "--glue-dir",
        type=Path,
        metavar="DIR",
        help="folder with one folder per task (MRPC, SST-2, ...), with TSV, JSON lines, parquet or arrow files",
    )
    files.add_argument(
        "--tasks",
        metavar="LIST",
        help=f"tasks, comma-separated, from {', '.join(TASKS)} (default: all tasks in --glue-dir)",
    )
    files.add_argument("--train-file", type=Path, metavar="FILE", help="training file of the task in --tasks")
    files.add_argument("--dev-file", type=Path, metavar="FILE", help="dev file of the task in --tasks")
    files.add_argument("--test-file", type=Path, metavar="FILE", help="test file of the task in --tasks")
    files.add_argument(
        "--splits",
        metavar="LIST",
        help="splits to create, comma-separated: train, valid, test, and for MNLI also valid1, test1 "
        "(default: all; test is optional)",
    )

    encoding = parser.add_argument_group("encoding")
    add_encoder_options(encoding, required=True)
    encoding.add_argument(
        "--max-positions",
        type=int,
        default=512,
        metavar="N",
        help="maximum tokens of a sentence or pair, special tokens included; longer inputs are truncated, the "
        "longer sentence of a pair first (default: 512)",
    )
    encoding.add_argument("--workers", type=int, metavar="N", help="encoding threads (default: all cores)")

    choice = parser.add_argument_group("selection")
    choice.add_argument(
        "--limit-train",
        type=int,
        metavar="N",
        help="keep N training sentences (or pairs), chosen by --seed, in file order; a smaller selection is a "
        "subset of a larger one (default: all)",
    )
    choice.add_argument(
        "--split-dev",
        type=float,
        metavar="SHARE",
        help="use this share of the training sentences, chosen by --seed, as dev set of a task without a dev "
        "file (default: none)",
    )
    choice.add_argument("--seed", type=int, default=1, help="seed of both selections (default: 1)")
    choice.add_argument(
        "--strict", action="store_true", help="stop at a malformed row (default: drop and report it)"
    )

    output = parser.add_argument_group("output")
    output.add_argument(
        "--out",
        type=Path,
        default=Path("data"),
        metavar="DIR",
        help="folder in which <TASK>-bin is created (default: data)",
    )
    output.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a <TASK>-bin that was made from other inputs (default: stop with an error)",
    )
    return parser


if __name__ == "__main__":
    gc.disable()  # many short lists without cycles: scanning them would take a tenth of the time
    sys.exit(main())
