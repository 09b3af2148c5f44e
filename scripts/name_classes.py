"""Writes class names to a fine-tuned checkpoint without names, or with other names than the data.

    python scripts/name_classes.py --checkpoint teachers/mnli --class-names contradiction,neutral,entailment

Training, evaluation and export use the names to reorder the classes to the order of the data. The checkpoint file is
replaced; its weights and other settings are unchanged.
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from launcher.arguments import Parser, names
from scripts.options import add_checkpoint_option


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the names and return exit status 0. Errors exit with a message."""
    args = _parser().parse_args(arguments)

    # Imported here because it takes seconds, and --help and invalid flags should be fast.
    import torch

    from fairseq_kd.errors import CannotStart
    from fairseq_kd.evaluation.loaded_model import classifier
    from fairseq_kd.evaluation.output_file import atomic_write
    from fairseq_kd.models.checkpoint import read_checkpoint
    from fairseq_kd.models.label_order import check_names
    from fairseq_kd.models.torch_file import load_torch_file

    checkpoint = read_checkpoint(args.checkpoint, "--checkpoint")
    given = f"--checkpoint {checkpoint.path}"
    classes = checkpoint.classes(classifier(checkpoint))
    if classes == 1:
        raise CannotStart(f"{given} is a regression model, which has no classes: use it without class names.")
    check_names(args.class_names, classes, given)

    state = load_torch_file(checkpoint.path)
    config = (state.get("cfg") or {}).get("model") or state["args"]
    settings = vars(config) if isinstance(config, argparse.Namespace) else config
    settings["class_names"] = args.class_names
    # A link stays a link, to the changed file.
    with atomic_write(checkpoint.path.resolve()) as file:
        torch.save(state, file)
    before = ", ".join(checkpoint.class_names) or "none"
    print(f"{checkpoint.path}: classes {', '.join(args.class_names)} (before: {before})")
    return 0


def _parser() -> Parser:
    parser = Parser(__doc__)
    add_checkpoint_option(parser, "fine-tuned model: ")
    parser.add_argument(
        "--class-names",
        type=names,
        required=True,
        metavar="LIST",
        help="class names as in the data, comma-separated, in the order of the logits",
    )
    return parser


if __name__ == "__main__":
    logging.disable(logging.INFO)
    sys.exit(main())
