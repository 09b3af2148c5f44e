"""Scores the importance of a fine-tuned model's weights, for scripts/prune.py (ROSITA).

    python scripts/score_importance.py --checkpoint teachers/MRPC --data data/MRPC-bin

Writes `importance.safetensors` next to the checkpoint. It has scores of the attention's output projection
and both feed-forward matrices of each layer: |sum over mini-batches of |dL/dw| * w|, over one epoch of
the training set. L is the task's loss, without dropout; weights are not updated.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher.arguments import Parser, positive
from scripts.options import add_checkpoint_option, add_data_option

BATCH_SIZE = 32
EVERY = 200  # batches between two progress lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the scores and return exit status 0. Errors exit with a message."""
    args = _parser().parse_args(arguments)

    # Imported here because it takes seconds, and --help and invalid flags should be fast.
    from fairseq_kd.evaluation.importance import NAME, importance, write
    from fairseq_kd.evaluation.loaded_model import LoadedModel, device

    model = LoadedModel.read(args.checkpoint, args.data)
    out = args.out or model.checkpoint.path.parent / NAME
    found = importance(model, args.split, device(args.cpu), args.batch_size, args.seed, print_progress)
    write(found, model.checkpoint, out)
    print(f"{out}: {model.checkpoint.shape}, {len(model.dataset(args.split)):,} sentences of {args.split}")
    return 0


def print_progress(done: int, of: int) -> None:
    """Print a progress line every EVERY batches."""
    if done % EVERY == 0:
        print(f"  batch {done:,} of {of:,}", flush=True)


def _parser() -> Parser:
    parser = Parser(__doc__)
    add_checkpoint_option(parser, "fine-tuned model: ")
    add_data_option(parser)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="output file (default: next to the checkpoint)"
    )
    parser.add_argument("--split", default="train", metavar="NAME", help="split of the data (default: train)")
    parser.add_argument(
        "--batch-size",
        type=positive,
        default=BATCH_SIZE,
        metavar="N",
        help=f"sentences per mini-batch (default: {BATCH_SIZE})",
    )
    parser.add_argument(
        "--seed", type=positive, default=1, metavar="N", help="random seed of the mini-batches (default: 1)"
    )
    parser.add_argument("--cpu", action="store_true", help="use no GPU (default: use the first GPU, if any)")
    return parser


if __name__ == "__main__":
    logging.disable(logging.INFO)
    sys.exit(main())
