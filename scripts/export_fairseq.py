"""Exports a student or teacher as a stock RoBERTa checkpoint, which fairseq loads without this package.

    python scripts/export_fairseq.py --checkpoint runs/sst2 --out exported

Writes OUT/model.pt and OUT/dict.txt, for

    RobertaModel.from_pretrained("exported", "model.pt", bpe=None).predict("sentence_classification_head", tokens)

Tokens begin with <s>, as in `RobertaModel.encode`; rows of binarized data have no <s>. Hidden states and logits
stay the same, but named classes get the order of the data's label/dict.txt. Models that stock RoBERTa cannot
represent are rejected.
"""

import logging
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher.arguments import Parser
from scripts.options import add_checkpoint_option


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the model and return exit status 0. Errors exit with a message."""
    args = _parser().parse_args(arguments)

    # Imported here because it takes seconds, and --help and invalid flags should be fast.
    import torch

    from fairseq_kd.convert.stock import notes, stock_state, unsupported_by_fairseq
    from fairseq_kd.errors import CannotStart
    from fairseq_kd.evaluation.output_file import atomic_write, output_path_errors
    from fairseq_kd.evaluation.provenance import find_dictionary, find_training_data, in_order_of_data
    from fairseq_kd.models.checkpoint import read_checkpoint

    checkpoint = read_checkpoint(args.checkpoint, "--checkpoint")
    data = find_training_data(args.data, checkpoint)
    dictionary = find_dictionary(data, checkpoint)
    pairs = None if data is None else (data / "input1").is_dir()
    found = unsupported_by_fairseq(checkpoint, pairs, args.approximate)
    found += output_path_errors(args.out)
    if found:
        raise CannotStart(*found, doing="export")

    checkpoint = in_order_of_data(checkpoint, data)
    with atomic_write(args.out / "dict.txt") as file, dictionary.open("rb") as source:
        shutil.copyfileobj(source, file)
    with atomic_write(args.out / "model.pt") as file:
        torch.save(stock_state(checkpoint), file)
    print("\n  ".join([f"{args.out / 'model.pt'}: {checkpoint.shape}", *notes(checkpoint, pairs)]))
    return 0


def _parser() -> Parser:
    parser = Parser(__doc__)
    add_checkpoint_option(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder to write")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="binarized data of its task, for the vocabulary (default: its training data, or dict.txt next to it)",
    )
    parser.add_argument(
        "--approximate",
        action="store_true",
        help="also export a model with another LayerNorm eps, such as BERT's, with slightly different outputs (default: "
        "stop with an error)",
    )
    return parser


if __name__ == "__main__":
    logging.disable(logging.INFO)
    sys.exit(main())
