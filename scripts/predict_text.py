"""Labels text for `scripts/predict.py --text`."""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from fairseq_kd.data.metadata import read_metadata
from fairseq_kd.errors import CannotStart
from fairseq_kd.evaluation.loaded_model import DEFAULT_BATCH_SIZE, classifier, device
from fairseq_kd.evaluation.output_file import atomic_write
from fairseq_kd.evaluation.provenance import class_labels, find_training_data, score_scale
from fairseq_kd.evaluation.text_model import Labelled, TextModel
from fairseq_kd.models.checkpoint import read_checkpoint
from preprocess.binarize import shorten
from preprocess.errors import DataError
from scripts.vocabulary import encoder_folder, matching_encoder

LINES = 1024  # labelled at once, sorted by length


def predict_text(args: argparse.Namespace) -> None:
    """Write the predictions for all lines of --text, in order. Raises CannotStart."""
    try:
        _predict_text(args)
    except DataError as error:
        raise CannotStart(str(error), doing="predict") from None
    except BrokenPipeError:
        # The reader, such as `head`, has ended; Python would otherwise report the unwritten rest at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _predict_text(args: argparse.Namespace) -> None:
    checkpoint = read_checkpoint(args.checkpoint[0], "--checkpoint")
    head, data = classifier(checkpoint), find_training_data(args.data, checkpoint)
    metadata = None if data is None else read_metadata(data)
    labels = class_labels(checkpoint, head, data)
    classes = checkpoint.classes(head)
    if classes > 1 and not labels:
        labels = tuple(map(str, range(classes)))
    folder = encoder_folder(args.encoder_dir, checkpoint, "predict")
    encoder = matching_encoder(folder, args.encoder, checkpoint, data, "predict")
    scale = score_scale(checkpoint, metadata)
    model = TextModel(checkpoint, encoder.symbols, labels, scale, device(args.cpu))

    pairs = None if metadata is None else metadata.pairs
    longest = checkpoint.shape.max_positions
    if metadata is not None and metadata.max_positions is not None:
        longest = min(longest, metadata.max_positions)  # truncated as in training
    with _opened(args.text) as lines, _output(args.out) as out:
        rows = _rows(lines, args.text, pairs)
        truncated = total = 0
        while batch := list(islice(rows, LINES)):
            if total == 0 and args.format == "tsv":
                out.write(_encoded("\t".join(_header(labels, len(batch[0])))))
            columns = [encoder.encode(column) for column in zip(*batch, strict=True)]
            encoded = list(zip(*columns, strict=True))
            limit = model.max_text_tokens(len(batch[0]) == 2, longest)
            truncated += sum(shorten(sentences, limit) for sentences in encoded)
            total += len(batch)
            predicted = model.predict(encoded, args.batch_size or DEFAULT_BATCH_SIZE)
            for texts, label in zip(batch, predicted, strict=True):
                out.write(_encoded(_line(texts, label, labels, args.format)))
            out.flush()
        if not total:
            raise CannotStart(
                f"--text {args.text} is empty: give a file with one sentence each line.", doing="predict"
            )
    if truncated:
        print(
            f"{truncated:,} of {total:,} texts were truncated to {longest} tokens, special tokens included.",
            file=sys.stderr,
        )


def _opened(given: str) -> AbstractContextManager[BinaryIO]:
    if given == "-":
        return nullcontext(sys.stdin.buffer)
    if not Path(given).is_file():
        raise CannotStart(f"--text {given} is not a file: correct the path.", doing="predict")
    return Path(given).open("rb")


def _output(path: Path | None) -> AbstractContextManager[BinaryIO]:
    """Return standard output, or a file that is written atomically."""
    return nullcontext(sys.stdout.buffer) if path is None else atomic_write(path)


def _rows(lines: Iterable[bytes], name: str, pairs: bool | None) -> Iterator[list[str]]:
    """Yield the one or two sentences of each line. Raises CannotStart for a line that is invalid.

    pairs  whether the model's data has pairs; None if unknown: the first line decides
    """
    expected = None if pairs is None else 1 + pairs
    for number, line in enumerate(lines, start=1):
        try:
            texts = [
                text.strip()
                for text in line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n").split("\t")
            ]
        except UnicodeDecodeError as error:
            raise CannotStart(
                f"--text {name} line {number} is not UTF-8 ({error.reason}): convert it.", doing="continue"
            ) from None
        expected = expected or len(texts)
        if len(texts) != expected or expected > 2:
            form = "a sentence" if expected == 1 else "two sentences with a tab between them"
            raise CannotStart(
                f"--text {name} line {number} has {len(texts)} tab-separated texts, but each line needs {form}: correct it.",
                doing="continue",
            )
        yield texts


def _encoded(line: str) -> bytes:
    return f"{line}\n".encode()


def _header(labels: tuple[str, ...], texts: int) -> list[str]:
    return ["prediction", *labels, *(["text"] if texts == 1 else ["text1", "text2"])]


def _line(texts: list[str], label: Labelled, labels: tuple[str, ...], form: str) -> str:
    prediction = label.name if labels else float(f"{label.name:.4g}")
    if form == "tsv":
        return "\t".join([str(prediction), *(f"{share:.4f}" for share in label.probabilities), *texts])
    names = ["text"] if len(texts) == 1 else ["text1", "text2"]
    record: dict[str, Any] = dict(zip(names, texts, strict=True)) | {"prediction": prediction}
    if labels:
        shares = [round(share, 4) for share in label.probabilities]
        record["probabilities"] = dict(zip(labels, shares, strict=True))
    return json.dumps(record, ensure_ascii=False)
