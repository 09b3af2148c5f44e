"""Imports BERT and RoBERTa models from Hugging Face, and exports models to Hugging Face.

    python scripts/convert_hf.py import HF_FOLDER OUT
    python scripts/convert_hf.py export --checkpoint RUN_OR_CHECKPOINT --out DIR

`import` reads config.json, model.safetensors or pytorch_model.bin (also in shards) and tokenizer files. It writes a
teacher folder: model.pt for --teacher and --init-from, and the tokenizer files for
`python -m preprocess.glue --encoder-dir OUT`. `export` writes a student or teacher as a Hugging Face folder, for

    AutoModelForSequenceClassification.from_pretrained("DIR"), AutoTokenizer.from_pretrained("DIR")

Hidden states, logits and token ids stay the same. Models that BERT and RoBERTa of transformers cannot represent are
rejected.
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from fairseq_kd.convert import transformers
from fairseq_kd.convert.hf_folder import read_config, write_checkpoint, write_model
from fairseq_kd.convert.huggingface import Converted, check_config, convert, model_type
from fairseq_kd.convert.weight_files import read_weights
from fairseq_kd.data.metadata import read_metadata
from fairseq_kd.errors import CannotStart
from fairseq_kd.evaluation.output_file import output_path_errors
from fairseq_kd.evaluation.provenance import (
    class_labels,
    find_training_data,
    trained_head,
)
from fairseq_kd.models.checkpoint import Checkpoint, read_checkpoint
from fairseq_kd.models.label_order import check_names, is_placeholder
from launcher.arguments import Parser, names
from preprocess import meta
from preprocess.atomic_folder import atomic_folder, recover
from preprocess.encoders import ENCODERS, Encoder
from preprocess.errors import DataError
from preprocess.export_tokenizer import export_tokenizer
from preprocess.huggingface import import_encoder
from preprocess.tokenizer_files import HuggingFaceTokenizer
from scripts.options import add_checkpoint_option
from scripts.vocabulary import encoder_folder, matching_encoder

# Files that an import may write.
TEACHER_FILES = {
    "model.pt",
    "dict.txt",
    "vocab.txt",
    "tokenizer_config.json",
    "tokenizer.json",
    "encoder.json",
    "vocab.bpe",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Import or export a model and return exit status 0. Errors exit with a message."""
    args = _parser().parse_args(arguments)
    if args.command == "import":
        import_model(args.source, args.out, args.class_names)
    else:
        export_model(args)
    return 0


def import_model(source: Path, out: Path, class_names: Sequence[str] | None = None) -> None:
    """Write the teacher folder `out` atomically.

    class_names  names of the classes in the order of the logits (default: id2label in config.json)
    """
    with _as_cannot_start("convert", out, "OUT"):
        config = read_config(source)
        if not config.get("model_type"):
            config["model_type"] = model_type(config, read_weights(source), str(source))
        check_config(config, str(source))
        target = out.resolve()
        if recover(target):
            print(f"{out} was restored: an earlier run was killed while it replaced the folder.")
        _check_out(out, source)

        weights = read_weights(source)
        with atomic_folder(target) as folder:
            tokenizer = import_encoder(config["model_type"], source, folder, config.get("tokenizer_class"))
            model = convert(config, weights, tokenizer.order(), str(source))
            if class_names is not None:
                check_names(class_names, len(model.labels), str(source))
                model = replace(model, labels=tuple(class_names))
            name = write_checkpoint(model, folder).name
        print(summary(source, out / name, config["vocab_size"], tokenizer, model))


@contextmanager
def _as_cannot_start(doing: str, out: Path, flag: str) -> Iterator[None]:
    """Raise CannotStart for errors of preprocessing and of files."""
    try:
        yield
    except DataError as error:
        raise CannotStart(str(error), doing=doing) from None
    except OSError as error:
        raise CannotStart(
            f"{error.filename or out} cannot be read or written ({error.strerror}): fix that, or name another {flag}.",
            doing=doing,
        ) from None


def _check_out(out: Path, source: Path) -> None:
    """Raise CannotStart unless `out` is new, empty or a teacher folder that an import wrote."""
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
            f"OUT {out} has {others[0]}{f' and {len(others) - 1} more' if len(others) > 1 else ''}, so no import created "
            "this folder: name another.",
            doing="convert",
        )


def summary(source: Path, path: Path, stored: int, tokenizer: HuggingFaceTokenizer, model: Converted) -> str:
    """Return the summary: sizes, converted and dropped parts, and the next command."""
    shape, words = model.shape, len(tokenizer.rows)
    left_out = [*model.left_out, *(["truncation on the left"] if tokenizer.cuts_left else [])]
    if stored > words:
        left_out.append(f"{stored - words} word embeddings without an entry in the vocabulary")

    return "\n".join(
        [
            f"{source}: {shape}",
            f"  positions   {shape.max_positions}",
            f"  LayerNorm   eps {shape.layernorm_eps:g}",
            f"  pairs       in the format of {shape.pair_format}, {shape.segments} segment embeddings",
            f"  vocabulary  {words:,} words, including the five special tokens",
            f"  tokenizer   {tokenizer.summary()}",
            f"  heads       {', '.join(model.heads) or 'none'}",
            f"  left out    {', '.join(left_out) or 'nothing'}",
            *_unnamed(model),
            f"Wrote {path}",
            f"Data for it: python -m preprocess.glue --encoder-dir {path.parent}{_length_limit(shape.max_positions)}",
        ]
    )


def _length_limit(max_positions: int) -> str:
    """Return the flag that preprocessing needs if the model takes shorter inputs than its default."""
    return f" --max-positions {max_positions}" if max_positions < meta.Options.max_positions else ""


def _unnamed(model: Converted) -> list[str]:
    """Return a line if the classes have only placeholder names; otherwise an empty list."""
    if len(model.labels) < 2 or not all(map(is_placeholder, model.labels)):
        return []
    return [
        "  classes     not named in config.json: unless they are 0, 1, .. in the data in this order, import again with "
        "--class-names"
    ]


def export_model(args: argparse.Namespace) -> None:
    """Write the Hugging Face folder `--out` atomically."""
    with _as_cannot_start("export", args.out, "--out"):
        print(_export_model(args))


def _export_model(args: argparse.Namespace) -> str:
    checkpoint = read_checkpoint(args.checkpoint, "--checkpoint")
    data, head = find_training_data(args.data, checkpoint), trained_head(checkpoint)
    labels = class_labels(checkpoint, head, data) if head else ()
    found = [*transformers.unsupported_by_transformers(checkpoint, head), *output_path_errors(args.out)]
    if args.without_tokenizer and args.encoder:
        found.append(f"--encoder {args.encoder} conflicts with --without-tokenizer: give one of them.")
    if found:
        raise CannotStart(*found, doing="export")

    config = transformers.config_of(checkpoint, head, labels)
    vocabulary = encoder = None
    if not args.without_tokenizer:
        without = "or --without-tokenizer to export the model only"
        vocabulary = encoder_folder(args.encoder_dir, checkpoint, "export", without)
        encoder = matching_encoder(vocabulary, args.encoder, checkpoint, data, "export")
    with atomic_folder(args.out.resolve()) as folder:
        write_model(folder, config, transformers.weights_of(checkpoint, head))
        if encoder is not None:
            shape, masks = checkpoint.shape, config["architectures"][0].endswith("ForMaskedLM")
            export_tokenizer(encoder, vocabulary, folder, shape.max_positions, bool(shape.segments), masks)
    metadata = None if data is None else read_metadata(data)
    scale = 1.0 if metadata is None else metadata.score_scale
    return _exported(args.out, checkpoint, head, config, encoder, scale)


def _exported(
    out: Path,
    checkpoint: Checkpoint,
    head: str | None,
    config: dict[str, Any],
    encoder: Encoder | None,
    scale: float,
) -> str:
    """Return the summary: class, labels, parts that were not exported, and how to load the model."""
    labels = ", ".join(config["id2label"].values()) if head else "none"
    if head and scale != 1:
        labels += f", 1/{scale:g} of the task's score"
    [name] = config["architectures"]
    task = name.partition("For")[2]
    loader = f"AutoModelFor{task}" if task else "AutoModel"
    lines = [
        f"{out}: {name}, {checkpoint.shape}",
        f"  labels      {labels}",
        f"  tokenizer   {'none' if encoder is None else encoder.name}",
        f"  left out    {', '.join(transformers.left_out(checkpoint, head)) or 'nothing'}",
        f'Load it: transformers.{loader}.from_pretrained("{out}"{"" if task else ", add_pooling_layer=False"})',
    ]
    return "\n".join(lines)


def _parser() -> Parser:
    parser = Parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="import|export")
    command = commands.add_parser("import", help="Hugging Face folder -> teacher folder", description=__doc__)
    command.add_argument("source", metavar="HF_FOLDER", type=Path, help="folder of model and tokenizer")
    command.add_argument("out", metavar="OUT", type=Path, help="teacher folder to write")
    command.add_argument(
        "--class-names",
        type=names,
        metavar="LIST",
        help="class names as in the data, comma-separated, in the order of the logits (default: id2label in "
        "config.json)",
    )

    command = commands.add_parser("export", help="checkpoint -> Hugging Face folder", description=__doc__)
    add_checkpoint_option(command)
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder to write")
    command.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="binarized data of its task, for the class names (default: its training data)",
    )
    tokenizer = command.add_mutually_exclusive_group()
    tokenizer.add_argument(
        "--encoder-dir",
        type=Path,
        metavar="DIR",
        help="folder of the tokenizer files, as for preprocess.glue (default: the checkpoint's folder)",
    )
    tokenizer.add_argument(
        "--without-tokenizer", action="store_true", help="export the model only (default: also its tokenizer)"
    )
    command.add_argument(
        "--encoder",
        choices=list(ENCODERS),
        help="kind of encoder, needed if its folder has files of several (default: detected from the files)",
    )
    return parser


if __name__ == "__main__":
    logging.disable(logging.INFO)
    sys.exit(main())
