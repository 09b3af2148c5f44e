"""How important each weight of a fine-tuned model is, which scripts/prune.py goes by (ROSITA).

    python scripts/score_importance.py --checkpoint teachers/MRPC --data data/MRPC-bin

Writes `importance.safetensors` beside the checkpoint: for the attention's output projection and both
feed-forward matrices of every layer, |sum over mini-batches of |dL/dw| * w| over one epoch of the
training set, of the task's loss, without dropout and without an update.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher.arguments import Parser, positive

BATCH_SIZE = 32
EVERY = 200  # batches, between two lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 the file is there; what prevents that ends the program with a sentence."""
    args = _parser().parse_args(arguments)

    # Here, because it takes seconds, and --help and a wrong flag should not.
    from fairseq_kd.evaluation.finished import FinishedModel, device
    from fairseq_kd.evaluation.importance import NAME, importance, write

    model = FinishedModel.read(args.checkpoint, args.data)
    out = args.out or model.checkpoint.path.parent / NAME
    found = importance(model, args.split, device(args.cpu), args.batch_size, args.seed, tell)
    write(found, model.checkpoint, out)
    print(f"{out}: {model.checkpoint.shape}, {len(model.dataset(args.split)):,} sentences of {args.split}")
    return 0


def tell(done: int, of: int) -> None:
    """A line now and then."""
    if done % EVERY == 0:
        print(f"  batch {done:,} of {of:,}", flush=True)


def _parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="PATH",
        help="a fine-tuned model: a checkpoint, or a folder with checkpoint_best.pt or model.pt",
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="binarized data: the task's folder <TASK>-bin, or the folder above it",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="file to write (default: beside the checkpoint)"
    )
    parser.add_argument(
        "--split", default="train", metavar="NAME", help="which split of the data (default: train)"
    )
    parser.add_argument(
        "--batch-size",
        type=positive,
        default=BATCH_SIZE,
        metavar="N",
        help=f"sentences a mini-batch (default: {BATCH_SIZE})",
    )
    parser.add_argument(
        "--seed",
        type=positive,
        default=1,
        metavar="N",
        help="which sentences share a mini-batch (default: 1)",
    )
    parser.add_argument("--cpu", action="store_true", help="use no GPU (default: the first one there is)")
    return parser


if __name__ == "__main__":
    logging.disable(logging.INFO)
    sys.exit(main())
