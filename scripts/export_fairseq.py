"""A student or teacher as a stock RoBERTa checkpoint, which fairseq loads without this package.

    python scripts/export_fairseq.py --checkpoint runs/sst2 --out exported

Writes OUT/model.pt and OUT/dict.txt, for

    RobertaModel.from_pretrained("exported", "model.pt", bpe=None).predict("sentence_classification_head", tokens)

where tokens, as `RobertaModel.encode` gives them, begin with <s>, which rows of binarized data lack.
Hidden states and logits stay what they were, but named classes take the order of the data's label/dict.txt.
What stock RoBERTa cannot express is refused.
"""

import logging
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher.arguments import Parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 the model is there; what prevents that ends the program with a sentence."""
    args = _parser().parse_args(arguments)

    # Here, because it takes seconds, and --help and a wrong flag should not.
    import torch

    from fairseq_kd.convert.stock import notes, problems, stock_state
    from fairseq_kd.errors import CannotStart
    from fairseq_kd.evaluation.files import atomic_write
    from fairseq_kd.evaluation.origin import (
        find_dictionary,
        find_training_data,
        in_order_of_data,
        problems_of_out,
    )
    from fairseq_kd.models.checkpoint import read_checkpoint

    checkpoint = read_checkpoint(args.checkpoint, "--checkpoint")
    data = find_training_data(args.data, checkpoint)
    dictionary = find_dictionary(data, checkpoint)
    pairs = None if data is None else (data / "input1").is_dir()
    found = problems(checkpoint, pairs, args.approximate)
    found += problems_of_out(args.out)
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
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="PATH",
        help="a checkpoint, or a folder with checkpoint_best.pt or model.pt",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder to write")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="binarized data of its task, which has the vocabulary (default: what it was trained on, or the dict.txt "
        "beside it)",
    )
    parser.add_argument(
        "--approximate",
        action="store_true",
        help="export a model with another LayerNorm eps (BERT's) as well, with slightly other answers (default: refuse)",
    )
    return parser


if __name__ == "__main__":
    logging.disable(logging.INFO)
    sys.exit(main())
