"""Prunes a fine-tuned model: fewer layers, heads and feed-forward neurons, factorised embeddings (ROSITA).

    python scripts/score_importance.py --checkpoint teachers/MRPC --data data/MRPC-bin
    python scripts/prune.py --checkpoint teachers/MRPC --layers 6 --heads 2 --ffn 768 --rank 128 --out pruned/MRPC

Keeps the first layers, and in each layer the most important heads and feed-forward neurons. Replaces the
word embeddings by their best approximation with two factors. Keeps classification and masked-LM heads.
Sizes without a flag stay unchanged. Writes OUT/model.pt for --init-from, or with --init-head for its
classification head too. scripts/prune_and_distil.py prunes in several steps.
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.arguments import Parser
from scripts.options import add_checkpoint_option, add_size_options

if TYPE_CHECKING:
    from torch import Tensor

    from fairseq_kd.models.checkpoint import Checkpoint
    from fairseq_kd.models.shape import ModelShape


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the model and return exit status 0. Errors exit with a message."""
    args = _parser().parse_args(arguments)

    # Imported here because it takes seconds, and --help and invalid flags should be fast.
    from fairseq_kd.errors import CannotStart
    from fairseq_kd.evaluation import importance
    from fairseq_kd.evaluation.output_file import output_path_errors
    from fairseq_kd.models.checkpoint import read_checkpoint
    from fairseq_kd.models.pruning import Sizes, prune

    checkpoint = read_checkpoint(args.checkpoint, "--checkpoint")
    sizes = Sizes.of(checkpoint.shape).override(vars(args))
    errors = [*sizes.errors(checkpoint.shape), *output_path_errors(args.out)]
    if errors:
        raise CannotStart(*errors, doing="prune")

    scores = importance.read(args.importance or checkpoint.path.parent / importance.NAME, checkpoint)
    weights, shape = prune(checkpoint.weights, checkpoint.shape, scores, sizes)
    write(weights, shape, checkpoint, args.out)
    print(f"{args.out / 'model.pt'}: {shape}\n  of {checkpoint.path}: {checkpoint.shape}")
    return 0


def write(
    weights: Mapping[str, "Tensor"], shape: "ModelShape", checkpoint: "Checkpoint", folder: Path
) -> None:
    """Write FOLDER/model.pt, with the checkpoint's task and vocabulary hash, and its dict.txt if there is one."""
    import torch

    from fairseq_kd.evaluation.output_file import atomic_write

    copied = ("dropout", "attention_dropout", "activation_dropout", "pooler_dropout", "fine_tuned_on")
    model = {"_name": "roberta_student", **shape.config(), "dictionary_hash": checkpoint.dictionary_hash}
    model["class_names"] = list(checkpoint.class_names)
    model |= {name: checkpoint.config[name] for name in copied if name in checkpoint.config}
    task = checkpoint.run.get("task") or {}
    task = {name: task[name] for name in ("classification_head_name",) if name in task}
    state = {"args": None, "cfg": {"model": model, "task": task}, "model": weights}

    dictionary = checkpoint.path.parent / "dict.txt"
    if dictionary.is_file():
        with atomic_write(folder / "dict.txt") as file:
            file.write(dictionary.read_bytes())
    with atomic_write(folder / "model.pt") as file:
        torch.save(state, file)


def _parser() -> Parser:
    parser = Parser(__doc__)
    add_checkpoint_option(parser, "fine-tuned model: ")
    parser.add_argument(
        "--importance",
        type=Path,
        metavar="FILE",
        help="importance scores (default: importance.safetensors next to the checkpoint)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder to write")
    add_size_options(parser)
    return parser


if __name__ == "__main__":
    logging.disable(logging.INFO)
    sys.exit(main())
