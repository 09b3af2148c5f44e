"""Logits of finished models, on the dev sets or any other split.

    python scripts/predict.py --checkpoint runs/a runs/b --data data

Writes `predictions/<split>.npz` beside each checkpoint: `logits` float32 [N, C] and, where the split has
them, `labels` [N], in the data's own order. Scores are printed.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher.arguments import Parser, positive


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 all is written; what prevents that ends the program with a sentence."""
    args = _parser().parse_args(arguments)
    if args.out is not None and len(args.checkpoint) > 1:
        _parser().error(
            f"--out {args.out} would mix the predictions of {len(args.checkpoint)} checkpoints: leave it out, or call "
            "once for each"
        )

    predict(args)
    return 0


def predict(args: argparse.Namespace) -> None:
    """Checks every checkpoint and split first, then writes the predictions of one after the other."""
    # Here, because it takes seconds, and --help and a wrong flag should not.
    import torch

    from fairseq_kd.errors import CannotStart
    from fairseq_kd.evaluation.finished import FinishedModel
    from fairseq_kd.evaluation.predictions import place_of
    from fairseq_kd.evaluation.scores import in_words, scores

    models = [FinishedModel.read(given, args.data) for given in args.checkpoint]
    chosen = [_splits(model.splits(), args.split) for model in models]
    for model, splits in zip(models, chosen, strict=True):
        if not splits:
            raise CannotStart(f"--data {model.data} has no dev set: name another split (--split).")
        for split in splits:
            model.dataset(split)

    device = torch.device("cuda" if torch.cuda.is_available() and not args.cpu else "cpu")
    for model, splits in zip(models, chosen, strict=True):
        place = args.out or place_of(model.checkpoint.path)
        for split, predictions in model.predict(splits, device, args.batch_size):
            path = place / f"{split}.npz"
            try:
                predictions.write(path)
            except OSError as error:
                raise CannotStart(
                    f"{path} cannot be written ({error.strerror}): mend that, or name another folder (--out).",
                    doing="go on",
                ) from None
            scored = "no labels" if predictions.labels is None else in_words(scores(predictions))
            print(f"{path}: {model.metadata.task} {split}, {len(predictions.logits):,} sentences, {scored}")


def _splits(present: Sequence[str], asked: Sequence[str] | None) -> list[str]:
    return list(asked or [split for split in present if split.startswith("valid")])


def names(text: str) -> list[str]:
    """Comma-separated names."""
    found = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} names nothing")
    return found


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
        "--batch-size",
        type=positive,
        metavar="N",
        help="sentences a batch (default: as in the run's own validations, or 32)",
    )
    parser.add_argument("--cpu", action="store_true", help="use no GPU (default: the first one there is)")
    return parser


if __name__ == "__main__":
    logging.disable(logging.INFO)  # fairseq tells of every file it opens
    sys.exit(main())
