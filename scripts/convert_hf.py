"""Hugging Face BERT and RoBERTa models for this package, and the way back.

    python scripts/convert_hf.py import HF_FOLDER OUT
    python scripts/convert_hf.py export --checkpoint RUN_OR_CHECKPOINT --out DIR

`import` turns a folder with config.json, model.safetensors or pytorch_model.bin (also in shards) and tokenizer files
into a teacher folder: model.pt for --teacher and --init-from, and the vocabulary's own files for
`python -m preprocess.glue --encoder-dir OUT`. `export` turns a student or teacher into such a folder, for

    AutoModelForSequenceClassification.from_pretrained("DIR"), AutoTokenizer.from_pretrained("DIR")

Hidden states and logits stay what they were, and token ids what preprocess.glue made of a text. What
transformers' BERT and RoBERTa cannot express is refused.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fairseq_kd.convert import transformers
from fairseq_kd.convert.folders import read_config, write_checkpoint, write_model
from fairseq_kd.convert.huggingface import Converted, check_config, converted, model_type
from fairseq_kd.convert.weight_files import read_weights
from fairseq_kd.data.metadata import dictionary_hash, read_metadata
from fairseq_kd.errors import CannotStart
from fairseq_kd.evaluation.origin import (
    class_labels,
    find_dictionary,
    find_training_data,
    problems_of_out,
    trained_head,
)
from fairseq_kd.models.checkpoint import Checkpoint, read_checkpoint
from fairseq_kd.models.class_order import check_names, is_placeholder
from launcher.arguments import Parser, names
from preprocess import meta
from preprocess.encoders import ENCODERS, Encoder, load_encoder
from preprocess.errors import DataError
from preprocess.export_tokenizer import export_tokenizer
from preprocess.folders import recover, replacing
from preprocess.huggingface import import_encoder
from preprocess.tokenizer_files import HuggingFaceTokenizer
from preprocess.vocabulary import symbols_hash

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
# By these a folder is known to hold a vocabulary.
VOCABULARIES = ("encoder.json", "vocab.txt", "tokenizer.json", "sentencepiece.model")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 the model is there; what prevents that ends the program with a sentence."""
    args = _parser().parse_args(arguments)
    if args.command == "import":
        import_model(args.source, args.out, args.class_names)
    else:
        export_model(args)
    return 0


def import_model(source: Path, out: Path, class_names: Sequence[str] | None = None) -> None:
    """Writes the teacher folder `out`, whole or not at all.

    class_names  names of the classes in the order of the logits (default: id2label in config.json)
    """
    try:
        _import_model(source, out, class_names)
    except DataError as error:
        raise CannotStart(str(error), doing="convert") from None
    except OSError as error:
        raise CannotStart(
            f"{error.filename or out} cannot be read or written ({error.strerror}): mend that, or name another OUT.",
            doing="convert",
        ) from None


def _import_model(source: Path, out: Path, class_names: Sequence[str] | None) -> None:
    config = read_config(source)
    if not config.get("model_type"):
        config["model_type"] = model_type(config, read_weights(source), str(source))
    check_config(config, str(source))
    place = out.resolve()
    if recover(place):
        print(f"{out} is back: an earlier run was killed while it replaced it.")
    _check_out(out, source)

    weights = read_weights(source)
    with replacing(place) as folder:
        tokenizer = import_encoder(config["model_type"], source, folder, config.get("tokenizer_class"))
        model = converted(config, weights, tokenizer.order(), str(source))
        if class_names is not None:
            check_names(class_names, len(model.labels), str(source))
            model = replace(model, labels=tuple(class_names))
        name = write_checkpoint(model, folder).name
    print(summary(source, out / name, config["vocab_size"], tokenizer, model))


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


def summary(source: Path, path: Path, stored: int, tokenizer: HuggingFaceTokenizer, model: Converted) -> str:
    """What was converted, what was left out, what comes next."""
    shape, words = model.shape, len(tokenizer.rows)
    left_out = [*model.left_out, *(["truncation at the left"] if tokenizer.cuts_left else [])]
    if stored > words:
        left_out.append(f"{stored - words} word embeddings that the vocabulary does not name")

    return "\n".join(
        [
            f"{source}: {shape}",
            f"  positions   {shape.max_positions}",
            f"  LayerNorm   eps {shape.layernorm_eps:g}",
            f"  pairs       joined as {shape.pair_format} does, {shape.segments} segment embeddings",
            f"  vocabulary  {words:,} words with the five specials",
            f"  tokenizer   {tokenizer.in_words()}",
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
    """Return a line if the classes have placeholders instead of names."""
    if len(model.labels) < 2 or not all(map(is_placeholder, model.labels)):
        return []
    return [
        "  classes     not named in config.json: unless the data calls them 0, 1, .. in this order, import again with "
        "--class-names"
    ]


def export_model(args: argparse.Namespace) -> None:
    """Writes the Hugging Face folder `--out`, whole or not at all."""
    try:
        print(_export_model(args))
    except DataError as error:
        raise CannotStart(str(error), doing="export") from None
    except OSError as error:
        raise CannotStart(
            f"{error.filename or args.out} cannot be read or written ({error.strerror}): mend that, or name another --out.",
            doing="export",
        ) from None


def _export_model(args: argparse.Namespace) -> str:
    checkpoint = read_checkpoint(args.checkpoint, "--checkpoint")
    data, head = find_training_data(args.data, checkpoint), trained_head(checkpoint)
    labels = class_labels(checkpoint, head, data) if head else ()
    found = [*transformers.problems(checkpoint, head), *problems_of_out(args.out)]
    if args.without_tokenizer and args.encoder:
        found.append(
            f"--encoder {args.encoder} names the kind of a tokenizer that --without-tokenizer leaves out: give one of them."
        )
    if found:
        raise CannotStart(*found, doing="export")

    config = transformers.config_of(checkpoint, head, labels)
    vocabulary = None if args.without_tokenizer else _vocabulary(args.encoder_dir, checkpoint)
    encoder = None if vocabulary is None else _encoder(vocabulary, args.encoder, checkpoint, data)
    with replacing(args.out.resolve()) as folder:
        write_model(folder, config, transformers.weights_of(checkpoint, head))
        if encoder is not None:
            shape, masks = checkpoint.shape, config["architectures"][0].endswith("ForMaskedLM")
            export_tokenizer(encoder, vocabulary, folder, shape.max_positions, bool(shape.segments), masks)
    metadata = None if data is None else read_metadata(data)
    scale = 1.0 if metadata is None else metadata.score_scale
    return _exported(args.out, checkpoint, head, config, encoder, scale)


def _vocabulary(given: Path | None, checkpoint: Checkpoint) -> Path:
    """The folder of the model's vocabulary: --encoder-dir or, without it, that of the checkpoint."""
    if given is not None:
        return given
    beside = checkpoint.path.parent
    if not any((beside / name).is_file() for name in VOCABULARIES):
        raise CannotStart(
            f"--checkpoint {checkpoint.path} has no vocabulary beside it: give --encoder-dir, as to preprocess.glue, or "
            "--without-tokenizer to export the model alone.",
            doing="export",
        )
    return beside


def _encoder(folder: Path, name: str | None, checkpoint: Checkpoint, data: Path | None) -> Encoder:
    """The vocabulary in `folder`; CannotStart where the model, or the data it was trained on, has another."""
    encoder = load_encoder(folder, name)
    known = checkpoint.dictionary_hash or dictionary_hash(find_dictionary(data, checkpoint))
    if symbols_hash(encoder.symbols) != known or encoder.pair_format != checkpoint.shape.pair_format:
        raise CannotStart(
            f"--encoder-dir {folder} is another vocabulary than that of --checkpoint {checkpoint.path}: give the one its "
            "data was made with.",
            doing="export",
        )

    made_with = ((meta.read(data) if data else None) or {}).get("encoder", {}).get("hash", encoder.hash)
    if made_with != encoder.hash:
        raise CannotStart(
            f"--encoder-dir {folder} numbers words as {data} does but cuts text otherwise (merges, casing): give the one "
            "the data was made with.",
            doing="export",
        )
    return encoder


def _exported(
    out: Path,
    checkpoint: Checkpoint,
    head: str | None,
    config: dict[str, Any],
    encoder: Encoder | None,
    scale: float,
) -> str:
    """What was exported, what was left out, how it is loaded."""
    labels = ", ".join(config["id2label"].values()) if head else "none"
    if head and scale != 1:
        labels += f", 1/{scale:g} of the task's own score"
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
    command.add_argument("source", metavar="HF_FOLDER", type=Path, help="the model and its tokenizer files")
    command.add_argument("out", metavar="OUT", type=Path, help="teacher folder to write")
    command.add_argument(
        "--class-names",
        type=names,
        metavar="LIST",
        help="comma-separated names of the classes, as in the data, in the order of the logits (default: id2label in "
        "config.json)",
    )

    command = commands.add_parser("export", help="checkpoint -> Hugging Face folder", description=__doc__)
    command.add_argument(
        "--checkpoint",
        required=True,
        metavar="PATH",
        help="a checkpoint, or a folder with checkpoint_best.pt or model.pt",
    )
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder to write")
    command.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="binarized data of its task, which names its classes (default: what it was trained on)",
    )
    tokenizer = command.add_mutually_exclusive_group()
    tokenizer.add_argument(
        "--encoder-dir",
        type=Path,
        metavar="DIR",
        help="the vocabulary's own files, as given to preprocess.glue (default: those beside the checkpoint)",
    )
    tokenizer.add_argument(
        "--without-tokenizer",
        action="store_true",
        help="export the model alone (default: its tokenizer too)",
    )
    command.add_argument(
        "--encoder",
        choices=list(ENCODERS),
        help="kind of that vocabulary, where its folder holds files of several (default: told by the files)",
    )
    return parser


if __name__ == "__main__":
    logging.disable(logging.INFO)
    sys.exit(main())
