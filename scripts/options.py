"""Command-line options that several scripts share."""

import argparse
from pathlib import Path

from launcher.arguments import names, positive, rate
from launcher.datasets import PUBLISHED_EPOCHS


def add_checkpoint_option(parser: argparse.ArgumentParser, kind: str = "") -> None:
    """Add the model that a script reads; `kind` begins the help."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="PATH",
        help=f"{kind}a checkpoint, or a folder with checkpoint_best.pt or model.pt",
    )


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """Add the data of a script that reads a trained model."""
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="binarized data, <TASK>-bin, or its parent folder, which is searched for the checkpoint's task",
    )


def add_split_option(group: argparse._ActionsContainer, default: str) -> None:
    """Add --split, a list; `default` describes the splits without it."""
    group.add_argument(
        "--split",
        type=names,
        metavar="LIST",
        help=f"splits, comma-separated, such as valid,valid1,test (default: {default})",
    )


def add_training_options(parser: argparse.ArgumentParser, out: str, when: str = "") -> None:
    """Add data, output and settings of a script that trains; `out` is the help of --out, `when` is added to --epochs."""
    parser.add_argument(
        "--data", type=Path, required=True, metavar="BIN", help="binarized data of one task, <TASK>-bin"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help=out)
    parser.add_argument(
        "--epochs",
        type=positive,
        default=PUBLISHED_EPOCHS,
        metavar="N",
        help=f"passes over the training data{when} (default: {PUBLISHED_EPOCHS})",
    )
    parser.add_argument(
        "--batch-size", type=positive, metavar="N", help="sentences per update (default: published, 16 or 32)"
    )
    parser.add_argument(
        "--lr", type=rate, metavar="LR", help="highest learning rate (default: published, 1e-5 or 2e-5)"
    )
    parser.add_argument("--seed", type=positive, default=1, metavar="N", help="random seed (default: 1)")
    parser.add_argument(
        "--trainer", metavar="PROGRAM", help="the fairseq-train to call (default: the environment's)"
    )
    parser.add_argument("--cpu", action="store_true", help="use no GPU (default: the first GPU)")


def add_size_options(parser: argparse.ArgumentParser, when: str = "") -> None:
    """Add the sizes of a pruned model; `when` is added to each help."""
    for name, what in (
        ("layers", "number of first layers that are kept"),
        ("heads", "attention heads kept in each layer"),
        ("ffn", "feed-forward neurons kept in each layer"),
        ("rank", "dimensions of the word embeddings"),
    ):
        parser.add_argument(f"--{name}", type=positive, metavar="N", help=f"{what}{when} (default: all)")


def add_inference_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a script that runs inference with a trained model."""
    parser.add_argument(
        "--batch-size",
        type=positive,
        metavar="N",
        help="sentences per batch (default: that of the run's validations, or 32)",
    )
    parser.add_argument("--cpu", action="store_true", help="use no GPU (default: the first GPU)")
