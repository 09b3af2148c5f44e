"""Options and steps shared by the commands that binarize labelled data: preprocess.glue and preprocess.custom."""

import argparse
import sys
from pathlib import Path
from typing import Any

from .binarize import SPECIALS_IN_PAIR, binarize
from .commands import add_encoder_options, check_range
from .encoders import load_encoder, use_cores
from .errors import DataError
from .meta import Options
from .rows import UNLABELLED
from .sources import Source
from .tasks import Task

SHORTEST = SPECIALS_IN_PAIR["roberta"] + 2  # one text token in each sentence of a pair


def binarize_all(
    sources: dict[Task, dict[str, Source]],
    args: argparse.Namespace,
    split_test: float | None = None,
    duplicates: str | None = None,
    settings: dict[str, Any] | None = None,
) -> None:
    """Create `<TASK>-bin` of each task and print a summary.

    args      the options of `add_binarize_options`
    split_test, duplicates  see `Options`
    settings  training settings to store in meta.json
    """
    use_cores(args.workers)
    encoder = load_encoder(args.encoder_dir, args.encoder)
    options = Options(
        args.max_positions,
        args.limit_train,
        args.split_dev,
        args.seed,
        args.strict,
        args.keep_unlabelled,
        split_test,
        duplicates,
    )
    args.out.mkdir(parents=True, exist_ok=True)
    for task in list(sources):
        found = sources.pop(task)
        if args.unlabelled:
            found[UNLABELLED] = Source(tuple(args.unlabelled))
        meta = binarize(task, found, encoder, options, args.out, args.overwrite, _note, settings)
        if meta is None:
            print(f"{args.out / task.name}-bin is up to date.")
        else:
            _print_summary(meta, args.out / f"{task.name}-bin")


def _print_summary(meta: dict, folder: Path) -> None:
    print(f"{folder}  ({meta['encoder']['name']}, up to {meta['max_positions']} tokens)")
    for split, counts in meta["splits"].items():
        line = f"  {split:<10} {counts['sentences']:>9,} {'pairs' if meta['pairs'] else 'sentences'}"
        line += f" of {counts['available']:,}" if counts["available"] != counts["sentences"] else ""
        line += f"  {counts['dropped']:,} dropped  {counts['truncated']:,} cut"
        why = ", ".join(f"{number:,} {reason}" for reason, number in counts["dropped_why"].items())
        line += f"  ({why})" if why else ""
        line += f"  {counts['empty']:,} with an empty text" if counts["empty"] else ""
        line += "" if counts["labelled"] else "  no labels"
        print(f"{line}  from {counts['source']}")


def _note(line: str) -> None:
    print(line, file=sys.stderr)


def check_options(args: argparse.Namespace) -> None:
    """Raise DataError for an option of `add_binarize_options` that is out of range, or a path that is wrong."""
    check_range(
        "--max-positions", args.max_positions, lambda n: n >= SHORTEST, f"a number at least {SHORTEST}"
    )
    check_range("--workers", args.workers, lambda n: n >= 1, "a number at least 1")
    check_range("--limit-train", args.limit_train, lambda n: n >= 1, "a number at least 1")
    check_share("--split-dev", args.split_dev)
    if args.out.exists() and not args.out.is_dir():
        raise DataError(f"--out {args.out} is a file: name a folder; <TASK>-bin is created in it.")
    for path in args.unlabelled or ():
        if not path.is_file():
            raise DataError(f"--unlabelled {path} is not a file: correct the path.")


def check_share(flag: str, share: float | None) -> None:
    """Raise DataError unless a share of the training data is between 0 and 1, or not given."""
    check_range(flag, share, lambda part: 0 < part < 1, "a number between 0 and 1")


def add_binarize_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of encoder, selection and output."""
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
    choice.add_argument(
        "--unlabelled",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="files with texts without labels, for the split `unlabelled` of --unlabelled-subset in training: tables with "
        "the text columns of the task, or .txt with one sentence (or tab-separated pair) each line (default: none)",
    )
    choice.add_argument(
        "--keep-unlabelled",
        action="store_true",
        help="put the training sentences without a label, and those that --limit-train leaves out, into the split "
        "`unlabelled` (default: drop them)",
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
