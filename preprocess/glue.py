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

from .binarize_options import add_binarize_options, binarize_all, check_options
from .commands import exit_status
from .errors import DataError
from .sources import find_sources, tasks_in
from .tasks import MNLI_SPLITS, TASKS, Task, find_task


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    args = _parser().parse_args(arguments)
    return exit_status("preprocess.glue", lambda: _run(args), args.out, "partial output was removed.")


def _run(args: argparse.Namespace) -> None:
    check_options(args)
    tasks, splits = _tasks(args), _splits(args)
    given = {"train": args.train_file, "valid": args.dev_file, "test": args.test_file}
    given = {split: path for split, path in given.items() if path}
    if (given or args.unlabelled) and len(tasks) > 1:
        raise DataError(
            f"--tasks {args.tasks or 'all'} names {len(tasks)} tasks, but --train-file, --dev-file, --test-file and "
            "--unlabelled name files of one task: run the command once per task."
        )

    # Find all files before encoding the first.
    sources = {
        task: find_sources(task, args.glue_dir, given, splits, args.split_dev is not None) for task in tasks
    }
    binarize_all(sources, args)


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

    add_binarize_options(parser)
    return parser


if __name__ == "__main__":
    gc.disable()  # many short lists without cycles: scanning them would take a tenth of the time
    sys.exit(main())
