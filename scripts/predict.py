"""Writes the logits of trained models on dev sets or other splits, submissions for GLUE's server, and labels of text.

    python scripts/predict.py --checkpoint runs/a runs/b --data data
    python scripts/predict.py --checkpoint runs/mnli runs/rte --data data --submission glue-submission
    python scripts/predict.py --checkpoint runs/a --encoder-dir gpt2_bpe --text reviews.txt > labels.tsv

Writes `predictions/<split>.npz` next to each checkpoint: `logits` float32 [N, C] and, if the split has labels,
`labels` [N], in the order of the data. Prints the scores.

With --submission, writes the test splits of each checkpoint's task to DIR/SST-2.tsv, DIR/MNLI-m.tsv, ... and zips
all files in DIR, including those of earlier calls, to DIR/submission.zip. An MNLI model also predicts AX-bin next to
its data (predictions/AX.npz).

With --text, labels the lines of a file, or of standard input (-): a sentence each line, or a pair with a tab between its
sentences. Prints one line per input line: the class with its probability of each class, or the score (regression).
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.arguments import Parser
from preprocess.commands import add_encoder_options
from scripts.options import add_inference_options, add_split_option

if TYPE_CHECKING:
    from fairseq_kd.evaluation.loaded_model import LoadedModel
    from fairseq_kd.evaluation.predictions import Predictions


def main(arguments: Sequence[str] | None = None) -> int:
    """Write all files and return exit status 0. Errors exit with a message."""
    parser = _parser()
    args = parser.parse_args(arguments)
    _check(parser, args)

    # Imported here because it takes seconds, and --help and invalid flags should be fast.
    if args.text is not None:
        from scripts.predict_text import predict_text

        predict_text(args)
        return 0
    from fairseq_kd.evaluation.loaded_model import LoadedModel

    models = [LoadedModel.read(given, args.data) for given in args.checkpoint]
    if args.submission is None:
        predict(models, args)
    else:
        submit(models, args)
    return 0


def predict(models: Sequence["LoadedModel"], args: argparse.Namespace) -> None:
    """Write the predictions of all models, after checking that all splits exist."""
    from fairseq_kd.errors import CannotStart
    from fairseq_kd.evaluation.loaded_model import device
    from fairseq_kd.evaluation.predictions import predictions_folder

    chosen = []
    for model in models:
        splits = args.split or [split for split in model.splits() if split.startswith("valid")]
        if not splits:
            raise CannotStart(f"--data {model.data} has no dev set: name another split (--split).")
        for split in splits:
            model.dataset(split)
        chosen.append(splits)

    for model, splits in zip(models, chosen, strict=True):
        out = args.out or predictions_folder(model.checkpoint.path)
        for split, predictions in model.predict(splits, device(args.cpu), args.batch_size):
            predictions.write(out / f"{split}.npz")
            report(out / f"{split}.npz", model.metadata.task, split, predictions)


def submit(models: Sequence["LoadedModel"], args: argparse.Namespace) -> None:
    """Write GLUE's files and their archive, after checking the number of rows."""
    from fairseq_kd.errors import CannotStart
    from fairseq_kd.evaluation.loaded_model import device
    from fairseq_kd.evaluation.predictions import predictions_folder
    from fairseq_kd.evaluation.submission import (
        models_to_submit,
        submitted_splits,
        write_archive,
        write_predictions,
    )

    models = [one for model in models for one in models_to_submit(model)]
    chosen = {}
    for model in models:
        task = model.metadata.task
        if task in chosen:
            raise CannotStart(
                f"--submission takes one model per task, but two --checkpoint are given for {task}: leave one out."
            )
        chosen[task] = submitted_splits(model, args.cut)

    written = []
    for model in models:
        task = model.metadata.task
        out = args.out or predictions_folder(model.checkpoint.path)
        for split, predictions in model.predict(chosen[task], device(args.cpu), args.batch_size):
            predictions.write(out / f"{'AX' if task == 'AX' else split}.npz")
            written.append(write_predictions(args.submission, split, predictions, model.metadata))
            report(written[-1], task, split, predictions)

    archive, present, missing = write_archive(args.submission)
    print(f"{archive}: {'without ' + ', '.join(missing) if missing else 'complete'}")
    if older := [name for name in present if args.submission / name not in written]:
        print(f"  {', '.join(older)} from earlier calls with --submission {args.submission}")


def report(path: Path, task: str, split: str, predictions: "Predictions") -> None:
    """Print file, task, split and scores."""
    from fairseq_kd.evaluation.scores import format_scores, scores

    scored = "no labels" if predictions.labels is None else format_scores(scores(predictions))
    print(f"{path}: {task} {split}, {len(predictions.logits):,} sentences, {scored}", flush=True)


def _check(parser: Parser, args: argparse.Namespace) -> None:
    """Exit with an error if flags conflict."""
    if args.out is not None and len(args.checkpoint) > 1:
        parser.error(
            f"--out {args.out} would mix the predictions of {len(args.checkpoint)} checkpoints: remove it, or run the "
            "command once per checkpoint"
        )
    if args.text is not None:
        if len(args.checkpoint) > 1:
            parser.error(
                f"--text takes one model, but {len(args.checkpoint)} --checkpoint are given: run the command once each"
            )
    elif args.data is None:
        parser.error("--data is missing: give the binarized data, or --text FILE to label text")


def _parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "--checkpoint",
        nargs="+",
        required=True,
        metavar="PATH",
        help="checkpoint, or a folder with checkpoint_best.pt or model.pt",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="binarized data, <TASK>-bin, or its parent folder, which is searched for each checkpoint's task. With --text: "
        "names of the classes, if the checkpoint has none (default: the data that it was trained on)",
    )
    kind = parser.add_mutually_exclusive_group()
    add_split_option(kind, "all dev sets")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="PATH",
        help="folder of .npz files (default: near the checkpoint); with --text a file (default: standard output)",
    )
    kind.add_argument(
        "--submission", type=Path, metavar="DIR", help="folder for GLUE's server (default: none)"
    )
    parser.add_argument(
        "--cut",
        action="store_true",
        help="with --submission: write the files even if rows are missing, which the server rejects (default: an error)",
    )
    kind.add_argument(
        "--text", metavar="FILE", help="UTF-8 text to label; - reads standard input (default: none)"
    )
    text = parser.add_argument_group("text")
    text.add_argument(
        "--format",
        choices=["tsv", "jsonl"],
        default="tsv",
        help="output for --text: tab-separated with a header, or JSON lines (default: tsv)",
    )
    add_encoder_options(text, required=False)
    add_inference_options(parser)
    return parser


if __name__ == "__main__":
    logging.disable(logging.INFO)  # fairseq logs every opened file
    sys.exit(main())
