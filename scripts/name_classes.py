"""Writes the names of its classes into a fine-tuned checkpoint that lacks them, or has others than the data.

    python scripts/name_classes.py --checkpoint teachers/mnli --class-names contradiction,neutral,entailment

By these names, training, evaluation and export put the classes in the order of the data. The checkpoint file is
replaced; its weights and other settings stay as they are.
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from launcher.arguments import Parser, names


def main(arguments: Sequence[str] | None = None) -> int:
    """Return exit status 0 when the names are written; an error ends the program with a sentence."""
    args = _parser().parse_args(arguments)

    # Here, because it takes seconds, and --help and a wrong flag should not.
    import torch

    from fairseq_kd.errors import CannotStart
    from fairseq_kd.evaluation.files import atomic_write
    from fairseq_kd.evaluation.finished import classifier
    from fairseq_kd.models.checkpoint import read_checkpoint
    from fairseq_kd.models.class_order import check_names

    checkpoint = read_checkpoint(args.checkpoint, "--checkpoint")
    given = f"--checkpoint {checkpoint.path}"
    classes = checkpoint.classes(classifier(checkpoint))
    if classes == 1:
        raise CannotStart(f"{given} is a regression, which has no classes: use it as it is.")
    check_names(args.class_names, classes, given)

    state = torch.load(checkpoint.path, map_location="cpu", weights_only=True)
    config = (state.get("cfg") or {}).get("model") or state["args"]
    settings = vars(config) if isinstance(config, argparse.Namespace) else config
    settings["class_names"] = args.class_names
    with atomic_write(checkpoint.path) as file:
        torch.save(state, file)
    before = ", ".join(checkpoint.class_names) or "none"
    print(f"{checkpoint.path}: classes {', '.join(args.class_names)} (before: {before})")
    return 0


def _parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="PATH",
        help="a fine-tuned model: a checkpoint, or a folder with checkpoint_best.pt or model.pt",
    )
    parser.add_argument(
        "--class-names",
        type=names,
        required=True,
        metavar="LIST",
        help="comma-separated names of its classes, as in the data, in the order of the logits",
    )
    return parser


if __name__ == "__main__":
    logging.disable(logging.INFO)
    sys.exit(main())
