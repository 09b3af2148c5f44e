"""Hugging Face BERT and RoBERTa models to and from this package.

    python scripts/convert_hf.py import HF_FOLDER OUT

`import` turns a folder with config.json, model.safetensors (or pytorch_model.bin) and tokenizer files
into a teacher folder: model.pt for --teacher and --init-from, and the vocabulary's own files for
`python -m preprocess.glue --encoder-dir OUT`. Hidden states and logits stay what they were.
"""

import argparse
from pathlib import Path

from fairseq_kd.convert.folders import read_config, read_weights, write_checkpoint
from fairseq_kd.convert.huggingface import Converted, check_config, converted
from fairseq_kd.errors import CannotStart
from preprocess.errors import DataError
from preprocess.huggingface import import_encoder


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Convert Hugging Face BERT and RoBERTa models.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("import", help="Hugging Face folder -> teacher folder")
    command.add_argument("source", metavar="HF_FOLDER", type=Path, help="the model and its tokenizer files")
    command.add_argument("out", metavar="OUT", type=Path, help="teacher folder to write")
    command.set_defaults(run=lambda args: import_model(args.source, args.out))

    args = parser.parse_args()
    args.run(args)


def import_model(source: Path, out: Path) -> None:
    """Writes the teacher folder `out`; model.pt comes last, so where it is, everything is."""
    config = read_config(source)
    check_config(config, str(source))
    if out.exists() and out.resolve() == source.resolve():
        raise CannotStart(f"OUT {out} is the model's own folder: name another.", doing="convert")
    weights = read_weights(source)

    out.mkdir(parents=True, exist_ok=True)
    try:
        rows = import_encoder(config["model_type"], source, out)
    except DataError as error:
        raise CannotStart(str(error), doing="convert") from None
    model = converted(config, weights, rows, str(source))
    path = write_checkpoint(model, out)
    print(summary(source, path, config["vocab_size"], len(rows), model))


def summary(source: Path, path: Path, stored: int, words: int, model: Converted) -> str:
    """What was converted, what was left out, what comes next."""
    shape = model.shape
    left_out = list(model.left_out)
    if stored > words:
        left_out.append(f"{stored - words} word embeddings that the vocabulary does not name")

    return "\n".join(
        [
            f"{source}: {shape}",
            f"  positions   {shape.max_positions}",
            f"  LayerNorm   eps {shape.layernorm_eps:g}",
            f"  pairs       joined as {shape.pair_format} does, {shape.segments} segment embeddings",
            f"  vocabulary  {words:,} words with the five specials",
            f"  heads       {', '.join(model.heads) or 'none'}",
            f"  left out    {', '.join(left_out) or 'nothing'}",
            f"Wrote {path}",
            f"Data for it: python -m preprocess.glue --encoder-dir {path.parent}",
        ]
    )


if __name__ == "__main__":
    main()
