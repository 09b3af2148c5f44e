"""Hugging Face BERT and RoBERTa models for this package.

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
from preprocess.folders import recover, replacing
from preprocess.huggingface import import_encoder

# All that an import may write.
TEACHER_FILES = {
    "model.pt",
    "dict.txt",
    "vocab.txt",
    "tokenizer_config.json",
    "tokenizer.json",
    "encoder.json",
    "vocab.bpe",
}


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
    """Writes the teacher folder `out`, whole or not at all."""
    try:
        _import_model(source, out)
    except DataError as error:
        raise CannotStart(str(error), doing="convert") from None
    except OSError as error:
        raise CannotStart(
            f"{error.filename or out} cannot be read or written ({error.strerror}): mend that, or name another OUT.",
            doing="convert",
        ) from None


def _import_model(source: Path, out: Path) -> None:
    config = read_config(source)
    check_config(config, str(source))
    place = out.resolve()
    if recover(place):
        print(f"{out} is back: an earlier run was killed while it replaced it.")
    _check_out(out, source)

    weights = read_weights(source)
    with replacing(place) as folder:
        rows = import_encoder(config["model_type"], source, folder)
        model = converted(config, weights, rows, str(source))
        name = write_checkpoint(model, folder).name
    print(summary(source, out / name, config["vocab_size"], len(rows), model))


def _check_out(out: Path, source: Path) -> None:
    """What is replaced is a teacher folder of ours, or empty."""
    if not out.exists():
        return
    if not out.is_dir():
        raise CannotStart(f"OUT {out} is a file: name a folder.", doing="convert")
    if out.resolve() == source.resolve():
        raise CannotStart(f"OUT {out} is the model's own folder: name another.", doing="convert")

    found = {path.name for path in out.iterdir()}
    others = sorted(found - TEACHER_FILES) or sorted(found if "model.pt" not in found else ())
    if others:
        raise CannotStart(
            f"OUT {out} holds {others[0]}{f' and {len(others) - 1} more' if len(others) > 1 else ''}, so it is not "
            "a folder that an import made: name another.",
            doing="convert",
        )


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
