"""Imports BERT, RoBERTa and XLM-RoBERTa models from Hugging Face, and exports models to Hugging Face and ONNX.

    python scripts/convert_hf.py import HF_FOLDER OUT
    python scripts/convert_hf.py export --checkpoint RUN_OR_CHECKPOINT --out DIR

`import` reads config.json, model.safetensors or pytorch_model.bin (also in shards) and tokenizer files. It writes a
teacher folder: model.pt for --teacher and --init-from, and the tokenizer files for
`python -m preprocess.glue --encoder-dir OUT`. `export` writes a student or teacher as a Hugging Face folder, for

    AutoModelForSequenceClassification.from_pretrained("DIR"), AutoTokenizer.from_pretrained("DIR")

Hidden states, logits and token ids stay the same. Models that BERT and RoBERTa of transformers cannot represent are
rejected. The folder has a model card, README.md. `export --onnx` also writes model.onnx for onnxruntime;
`export --onnx-only` writes it for any model.
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fairseq_kd.convert import transformers
from fairseq_kd.convert.hf_folder import read_config, write_checkpoint, write_model
from fairseq_kd.convert.huggingface import Converted, check_config, convert, model_type
from fairseq_kd.convert.onnx import OnnxExport, OnnxFile
from fairseq_kd.convert.weight_files import read_weights
from fairseq_kd.data.metadata import read_metadata
from fairseq_kd.errors import CannotStart
from fairseq_kd.evaluation.loaded_model import LoadedModel
from fairseq_kd.evaluation.onnx_scores import score_table
from fairseq_kd.evaluation.output_file import output_path_errors
from fairseq_kd.evaluation.provenance import class_labels, find_training_data, score_scale, trained_head
from fairseq_kd.models.checkpoint import Checkpoint, read_checkpoint
from fairseq_kd.models.label_order import check_names, is_placeholder
from launcher.arguments import Parser, names
from preprocess import meta
from preprocess.atomic_folder import atomic_folder, recover
from preprocess.encoders import ENCODERS, Encoder, SentencePieceEncoder
from preprocess.errors import DataError
from preprocess.export_tokenizer import copy_sentencepiece, export_tokenizer
from preprocess.huggingface import import_encoder
from preprocess.tokenizer_files import HuggingFaceTokenizer
from scripts.model_card import model_card
from scripts.options import add_checkpoint_option
from scripts.vocabulary import encoder_folder, matching_encoder

ONNX, ONNX_INT8 = "model.onnx", "model_int8.onnx"
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
    found = [] if args.onnx_only else transformers.unsupported_by_transformers(checkpoint, head)
    found += output_path_errors(args.out)
    if args.int8 and not (args.onnx or args.onnx_only):
        found.append("--int8 quantizes an ONNX file, but none is exported: add --onnx or --onnx-only.")
    if found:
        raise CannotStart(*found, doing="export")

    vocabulary = encoder = None
    if not args.without_tokenizer:
        without = "or --without-tokenizer to export the model only"
        vocabulary = encoder_folder(args.encoder_dir, checkpoint, "export", without)
        encoder = matching_encoder(vocabulary, args.encoder, checkpoint, data, "export")
    onnx = None
    if args.onnx or args.onnx_only:
        onnx = OnnxExport(checkpoint, head, labels, "--onnx-only" if args.onnx_only else "--onnx")
    scored = LoadedModel.of(checkpoint, args.data) if args.int8 and args.data and head else None

    metadata = None if data is None else read_metadata(data)
    scale = score_scale(checkpoint, metadata)
    *lines, load = _exported(args, checkpoint, head, labels, encoder, scale)
    of_numbers = scale if head and checkpoint.classes(head) == 1 else None
    shown = load.replace(str(args.out), args.out.name)  # paths of this machine are private
    card = model_card(args.out.name, checkpoint, labels, of_numbers, shown, args.comparison, args.onnx_only)

    onnx_lines: list[str] = []
    table: list[str] = []
    with atomic_folder(args.out.resolve()) as folder:
        if not args.onnx_only:
            config = transformers.config_of(checkpoint, head, labels)
            write_model(folder, config, transformers.weights_of(checkpoint, head))
        if args.onnx_only and isinstance(encoder, SentencePieceEncoder):
            copy_sentencepiece(encoder, vocabulary, folder)
        elif encoder is not None:
            shape, masks = checkpoint.shape, transformers.class_name(checkpoint, head).endswith("ForMaskedLM")
            export_tokenizer(encoder, vocabulary, folder, shape.max_positions, bool(shape.segments), masks)
        if onnx is not None:
            onnx_lines = _write_onnx(onnx, folder, args.int8)
        if scored is not None:
            files = {name: OnnxFile(folder / name, checkpoint.shape) for name in (ONNX, ONNX_INT8)}
            table = score_table(files, checkpoint, scored)
            card += "\n".join(["\n## Dev scores of the ONNX files\n", *table, ""])
        (folder / "README.md").write_text(card, encoding="utf-8")
    return "\n".join([*lines, *onnx_lines, f"Load it: {load}", *table])


def _write_onnx(onnx: OnnxExport, folder: Path, int8: bool) -> list[str]:
    """Write model.onnx, and with `int8` model_int8.onnx; return a line for each."""
    found = [("onnx", ONNX, onnx.write(folder / ONNX))]
    if int8:
        found.append(("int8", ONNX_INT8, onnx.write_int8(folder / ONNX, folder / ONNX_INT8)))
    return [
        f"  {kind:<11} {name}, {(folder / name).stat().st_size / 1e6:.1f} MB, output {onnx.output}, largest "
        f"difference from torch {difference:.1e}"
        for kind, name, difference in found
    ]


def _exported(
    args: argparse.Namespace,
    checkpoint: Checkpoint,
    head: str | None,
    labels: Sequence[str],
    encoder: Encoder | None,
    scale: float,
) -> list[str]:
    """Return the lines of the summary: class, labels, parts that were not exported; last, the call that loads the model."""
    shown = "none"
    if head:
        shown = ", ".join(transformers.label_names(checkpoint, head, labels))
        shown += f", 1/{scale:g} of the task's score" if scale != 1 else ""
    left_out = transformers.left_out(checkpoint, head)
    name = transformers.class_name(checkpoint, head)
    task = name.partition("For")[2]
    load = f'transformers.AutoModel{"For" + task if task else ""}.from_pretrained("{args.out}"'
    load += ")" if task else ", add_pooling_layer=False)"
    if args.onnx_only:
        name, load = "ONNX file", f'onnxruntime.InferenceSession("{args.out / ONNX}")'
        left_out += ["masked-LM head"] if checkpoint.has_lm_head and not head else []
    return [
        f"{args.out}: {name}, {checkpoint.shape}",
        f"  labels      {shown}",
        f"  tokenizer   {'none' if encoder is None else encoder.name}",
        f"  left out    {', '.join(left_out) or 'nothing'}",
        load,
    ]


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
    command.add_argument(
        "--comparison",
        type=Path,
        metavar="DIR",
        help="folder of scripts/compare.py --out, whose table the model card (README.md) shows (default: scores of the run)",
    )
    onnx = command.add_mutually_exclusive_group()
    onnx.add_argument(
        "--onnx",
        action="store_true",
        help=f"also write {ONNX} for onnxruntime, compared with torch (default: no)",
    )
    onnx.add_argument(
        "--onnx-only",
        action="store_true",
        help=f"write {ONNX} and the tokenizer without a model for transformers, which cannot represent every student "
        "(default: no)",
    )
    command.add_argument(
        "--int8",
        action="store_true",
        help=f"also write {ONNX_INT8} with weights quantized to int8; with --data, print the dev scores of both files "
        "(default: no)",
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
