"""Logits of finished models, on the dev sets or any other split, and files for GLUE's server.

    python scripts/predict.py --checkpoint runs/a runs/b --data data
    python scripts/predict.py --checkpoint runs/mnli runs/rte --data data --submission glue-submission

Writes `predictions/<split>.npz` beside each checkpoint: `logits` float32 [N, C] and, where the split has
them, `labels` [N], in the data's own order. Scores are printed.

With --submission, the test splits of each checkpoint's task become DIR/SST-2.tsv, DIR/MNLI-m.tsv, ... and,
with what earlier calls left there, DIR/submission.zip. That of MNLI answers AX-bin beside its data, too
(predictions/AX.npz).
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher.arguments import Parser, names
from scripts.options import add_inference_options


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 all is written; what prevents that ends the program with a sentence."""
    parser = _parser()
    args = parser.parse_args(arguments)
    _check(parser, args)

    # Here, because it takes seconds, and --help and a wrong flag should not.
    from fairseq_kd.evaluation.finished import FinishedModel

    models = [FinishedModel.read(given, args.data) for given in args.checkpoint]
    if args.submission is None:
        predict(models, args)
    else:
        submit(models, args)
    return 0


def predict(models: Sequence, args: argparse.Namespace) -> None:
    """Writes the predictions of one model after the other; every split is looked for first."""
    from fairseq_kd.errors import CannotStart
    from fairseq_kd.evaluation.finished import device
    from fairseq_kd.evaluation.predictions import place_of

    chosen = []
    for model in models:
        splits = args.split or [split for split in model.splits() if split.startswith("valid")]
        if not splits:
            raise CannotStart(f"--data {model.data} has no dev set: name another split (--split).")
        for split in splits:
            model.dataset(split)
        chosen.append(splits)

    for model, splits in zip(models, chosen, strict=True):
        place = args.out or place_of(model.checkpoint.path)
        for split, predictions in model.predict(splits, device(args.cpu), args.batch_size):
            predictions.write(place / f"{split}.npz")
            report(place / f"{split}.npz", model.metadata.task, split, predictions)


def submit(models: Sequence, args: argparse.Namespace) -> None:
    """Writes GLUE's files and their archive; every row is counted first."""
    from fairseq_kd.errors import CannotStart
    from fairseq_kd.evaluation.finished import device
    from fairseq_kd.evaluation.predictions import place_of
    from fairseq_kd.evaluation.submission import (
        models_to_submit,
        submitted_splits,
        write_answers,
        write_archive,
    )

    models = [one for model in models for one in models_to_submit(model)]
    chosen = {}
    for model in models:
        task = model.metadata.task
        if task in chosen:
            raise CannotStart(
                f"--submission takes one model a task, but two --checkpoint are given for {task}: leave one out."
            )
        chosen[task] = submitted_splits(model, args.cut)

    written = []
    for model in models:
        task = model.metadata.task
        place = args.out or place_of(model.checkpoint.path)
        for split, predictions in model.predict(chosen[task], device(args.cpu), args.batch_size):
            predictions.write(place / f"{'AX' if task == 'AX' else split}.npz")
            written.append(write_answers(args.submission, split, predictions, model.metadata))
            report(written[-1], task, split, predictions)

    archive, present, missing = write_archive(args.submission)
    print(f"{archive}: {'without ' + ', '.join(missing) if missing else 'complete'}")
    if older := [name for name in present if args.submission / name not in written]:
        print(f"  {', '.join(older)} as earlier calls left them in {args.submission}")


def report(path: Path, task: str, split: str, predictions) -> None:
    """Prints one line: which file, of what, and how good."""
    from fairseq_kd.evaluation.scores import in_words, scores

    scored = "no labels" if predictions.labels is None else in_words(scores(predictions))
    print(f"{path}: {task} {split}, {len(predictions.logits):,} sentences, {scored}", flush=True)


def _check(parser: Parser, args: argparse.Namespace) -> None:
    """Refuses flags that contradict each other."""
    if args.out is not None and len(args.checkpoint) > 1:
        parser.error(
            f"--out {args.out} would mix the predictions of {len(args.checkpoint)} checkpoints: leave it out, or call "
            "once for each"
        )
    if args.submission is not None and args.split is not None:
        parser.error(
            f"--split {','.join(args.split)} with --submission, which takes every test split: leave one of the two out"
        )
    if args.cut and args.submission is None:
        parser.error("--cut says something of a submission: give --submission DIR, or leave it out")


def _parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "--checkpoint",
        nargs="+",
        required=True,
        metavar="PATH",
        help="a checkpoint, or a folder with checkpoint_best.pt or model.pt",
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="binarized data, <TASK>-bin, or the folder above, where each checkpoint finds that of its own task",
    )
    parser.add_argument(
        "--split",
        type=names,
        metavar="LIST",
        help="comma-separated, such as valid,valid1,test (default: every dev set)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the .npz files (default: beside the checkpoint)"
    )
    parser.add_argument(
        "--submission", type=Path, metavar="DIR", help="folder of the files for GLUE's server (default: none)"
    )
    parser.add_argument(
        "--cut",
        action="store_true",
        help="write these files even where the data lacks rows, which the server refuses (default: stop)",
    )
    add_inference_options(parser)
    return parser


if __name__ == "__main__":
    logging.disable(logging.INFO)  # fairseq tells of every file it opens
    sys.exit(main())
