"""Makes new training text by replacing words with those that a masked language model predicts.

    python -m preprocess.augment --data data/MRPC-bin --model models/roberta --copies 10

writes the split `augmented` of the folder: per training sentence or pair, `--copies` versions, in each of which a word
is replaced with probability `--rate` by one of the `--top` words that the model predicts at its masked position. The
split has no labels: a student learns from it with `--unlabelled-subset augmented`, as the teacher labels it.

Follows the data augmentation of TinyBERT (Jiao et al., EMNLP Findings 2020), which masks words of one piece and
otherwise takes neighbours of GloVe vectors. Here, a word of several pieces is masked as a whole; with RoBERTa's pieces,
punctuation after a word is one of them. The same seed gives the same text. First words of RoBERTa's sentences stay,
because their pieces differ from those of inner words.
"""

import argparse
import hashlib
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import meta
from .commands import add_encoder_options, check_range, exit_status
from .encoders import load_encoder
from .errors import DataError
from .indexed import IndexedWriter
from .vocabulary import EOS, SPECIALS, symbols_hash

if TYPE_CHECKING:
    import torch

    from fairseq_kd.models.roberta_student import RobertaStudent

EVERY_SECONDS = 10
BUFFER = 4096  # versions that are sorted by length and predicted at once


@dataclass(frozen=True)
class Version:
    """A sentence or pair with masked words.

    sentences  token indices, without <s>, each with its </s>
    masked     (sentence, position) of each mask
    choices    number in [0, 1) for each mask, that decides which of the predicted words it becomes
    """

    sentences: list[list[int]]
    masked: list[tuple[int, int]]
    choices: list[float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    args = _parser().parse_args(arguments)
    return exit_status("preprocess.augment", lambda: _run(args), args.data, "partial output was removed.")


def _run(args: argparse.Namespace) -> None:
    _check(args)
    found = meta.read(args.data)
    if found is None:
        raise DataError(
            f"--data {args.data} has no meta.json: give a folder that preprocess.glue or preprocess.custom made."
        )
    if not {"splits", "pairs", "dictionary_hash", "pair_format"} <= found.keys():
        raise DataError(f"--data {args.data} is not binarized data of a sentence task: give such a folder.")
    if args.split in found["splits"] and not args.overwrite:
        raise DataError(
            f"--data {args.data} has a split {args.split}: add --overwrite to replace it, or name another --split."
        )

    # Imported here because it takes seconds, and invalid flags should fail fast.
    from fairseq_kd.errors import CannotStart

    try:
        _augment(args, found)
    except CannotStart as error:
        raise DataError(str(error)) from None


def _augment(args: argparse.Namespace, found: dict[str, Any]) -> None:
    from fairseq_kd.data.binarized import read_split
    from fairseq_kd.data.metadata import load_dictionary
    from fairseq_kd.evaluation.loaded_model import device
    from fairseq_kd.models.checkpoint import read_checkpoint
    from fairseq_kd.teachers.live import frozen_model

    checkpoint = read_checkpoint(args.model, "--model")
    encoder = load_encoder(args.encoder_dir or checkpoint.path.parent, args.encoder)
    if (
        not found["dictionary_hash"]
        == symbols_hash(encoder.symbols)
        == (checkpoint.dictionary_hash or found["dictionary_hash"])
    ):
        raise DataError(
            f"--model {args.model}, --encoder-dir and --data {args.data} have different vocabularies: give the model "
            "and the encoder of the data."
        )
    if not checkpoint.has_lm_head:
        raise DataError(
            f"--model {args.model} has no masked-LM head: give a pre-trained model with one and with the vocabulary of the "
            "data, such as RoBERTa or BERT."
        )

    dictionary = load_dictionary(args.data / "input0" / "dict.txt")
    mask = dictionary.index("<mask>")
    on = device(args.cpu)
    model = frozen_model(checkpoint, dictionary, None, "--model", lm_head=True).to(on)
    inputs = [args.data / name for name in ("input0", "input1")[: 1 + found["pairs"]]]
    rows = [read_split(folder / "train", dictionary, False, "python -m preprocess.glue") for folder in inputs]
    if any(each is None for each in rows):
        raise DataError(f"--data {args.data} has no training set: make it with one.")

    starts = [False] * len(SPECIALS) + encoder.word_starts()
    if args.top > sum(starts):
        raise DataError(
            f"--top {args.top} is out of range: {sum(starts):,} symbols of the vocabulary begin a word."
        )
    between = (len(rows) - 1) * (found["pair_format"] == "roberta")
    longest = 1 + between + int(sum(each.sizes for each in rows).max())
    if longest > checkpoint.shape.max_positions:
        raise DataError(
            f"--data {args.data} has an example of {longest} tokens, but --model {args.model} takes "
            f"{checkpoint.shape.max_positions}: make the data again with --max-positions {checkpoint.shape.max_positions}."
        )
    versions = _versions(rows, starts, mask, args)
    words = _word_mask(starts, mask, on)
    try:
        written = 0
        with ExitStack() as stack:
            writers = [
                stack.enter_context(IndexedWriter(folder / f"{args.split}.part", len(dictionary)))
                for folder in inputs
            ]
            printed = time.monotonic()
            while buffer := list(islice(versions, BUFFER)):
                _replace(model, buffer, words, found["pair_format"], args, on)
                for number, writer in enumerate(writers):
                    writer.add([each.sentences[number] for each in buffer])
                written += len(buffer)
                if time.monotonic() - printed > EVERY_SECONDS:
                    printed = time.monotonic()
                    print(f"  {written:,} of at most {args.copies * len(rows[0]):,}", flush=True)
        if not written:
            raise DataError(f"--data {args.data}: no word was replaced: give a higher --rate.")
        for path in _parts(inputs, args.split):
            path.replace(path.with_name(path.name.replace(".part.", ".")))
    finally:
        for path in _parts(inputs, args.split):
            path.unlink(missing_ok=True)

    settings = {name: getattr(args, name) for name in ("copies", "rate", "top", "seed")}
    with checkpoint.path.open("rb") as file:
        settings["model"] = hashlib.file_digest(file, "sha256").hexdigest()
    # Another command may have changed the folder meanwhile.
    now = meta.read(args.data)
    if now is None or now.get("made_from") != found.get("made_from"):
        raise DataError(f"--data {args.data} was made again while this command ran: run it again.")
    now["splits"][args.split] = {
        "sentences": written,
        "labelled": False,
        "source": f"train, with words replaced by {checkpoint.path.name}",
        "augmented": settings,
    }
    meta.write(args.data, now)
    print(
        f"{args.data}: {written:,} {'pairs' if found['pairs'] else 'sentences'} in the split {args.split}, without labels"
    )
    print(f"Train on them: --unlabelled-subset {args.split}")


def _parts(inputs: Sequence[Path], split: str) -> list[Path]:
    return [folder / f"{split}.part.{end}" for folder in inputs for end in ("bin", "idx")]


def _versions(
    rows: Sequence[Any], starts: Sequence[bool], mask: int, args: argparse.Namespace
) -> Iterator[Version]:
    """Yield the masked versions of all rows; a version without masks is left out."""
    import numpy as np

    for row in range(len(rows[0])):
        sentences = [each[row].tolist() for each in rows]
        for copy in range(args.copies):
            random = np.random.default_rng([args.seed, row, copy])
            masked_sentences: list[list[int]] = []
            masked = []
            for number, tokens in enumerate(sentences):
                kept: list[int] = []
                for word in _words(tokens, starts):
                    if starts[word[0]] and random.random() < args.rate:
                        masked.append((number, len(kept)))
                        word = [mask]
                    kept += word
                masked_sentences.append([*kept, EOS])
            if masked:
                yield Version(masked_sentences, masked, random.random(len(masked)).tolist())


def _words(tokens: Sequence[int], starts: Sequence[bool]) -> Iterator[list[int]]:
    """Yield the pieces of each word of a sentence, without its </s>."""
    word: list[int] = []
    for token in tokens[:-1]:
        if word and starts[token]:
            yield word
            word = []
        word.append(token)
    if word:
        yield word


def _word_mask(starts: Sequence[bool], mask: int, on: "torch.device") -> "torch.Tensor":
    """Return [V]: 0 for symbols that begin a word, minus infinity for all others."""
    import torch

    allowed = torch.zeros(mask + 1, device=on)
    allowed[torch.tensor([*(not start for start in starts), *[True] * (mask + 1 - len(starts))])] = float(
        "-inf"
    )
    return allowed


def _replace(
    model: "RobertaStudent",
    versions: Sequence[Version],
    words: "torch.Tensor",
    pair_format: str,
    args: argparse.Namespace,
    on: "torch.device",
) -> None:
    """Replace the masks of all versions in place by words that the model predicts; batches have similar lengths."""
    import torch

    from fairseq_kd.data.sequences import encoder_input
    from fairseq_kd.evaluation.text_model import joined
    from fairseq_kd.signals import Wanted
    from fairseq_kd.teachers.live import move

    order = sorted(range(len(versions)), key=lambda number: sum(map(len, versions[number].sentences)))
    for begin in range(0, len(order), args.batch_size):
        batch = [versions[number] for number in order[begin : begin + args.batch_size]]
        given = encoder_input(
            [joined([tokens[:-1] for tokens in each.sentences], pair_format) for each in batch]
        )
        mask = len(words) - 1
        places = given["src_tokens"].eq(mask).flatten().nonzero().squeeze(1)
        given = {name: move(value, on) for name, value in given.items()}
        with torch.inference_mode():
            signals = model(**given, masked=places.to(on), wanted=Wanted(logits=True))
            scores = signals.lm_head(signals.masked).float() + words
            predicted = scores.topk(args.top, dim=1).indices.cpu()  # [masks, top]
        choices = torch.tensor([choice for each in batch for choice in each.choices])
        chosen = predicted.gather(1, (choices * args.top).long()[:, None]).squeeze(1).tolist()
        for each in batch:
            for number, position in each.masked:
                each.sentences[number][position] = chosen.pop(0)


def _check(args: argparse.Namespace) -> None:
    check_range("--copies", args.copies, lambda n: n >= 1, "1 or more")
    check_range("--rate", args.rate, lambda rate: 0 < rate <= 1, "a number above 0, at most 1")
    check_range("--top", args.top, lambda n: n >= 1, "1 or more")
    check_range("--batch-size", args.batch_size, lambda n: n >= 1, "1 or more")
    if args.split.startswith(("train", "valid", "test")) or not args.split.isidentifier():
        raise DataError(
            f"--split {args.split} is not a name of its own: use letters, and not train, valid or test."
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m preprocess.augment",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="binarized data, <TASK>-bin")
    parser.add_argument(
        "--model",
        required=True,
        metavar="PATH",
        help="pre-trained model with a masked-LM head, such as the teacher's",
    )
    parser.add_argument(
        "--copies", type=int, default=5, metavar="N", help="versions of each row (default: 5)"
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=0.4,
        metavar="P",
        help="probability that a word is replaced (default: 0.4)",
    )
    parser.add_argument(
        "--top",
        type=int,
        default=15,
        metavar="K",
        help="most likely words, of which one is drawn (default: 15 words)",
    )
    parser.add_argument("--seed", type=int, default=1, help="random seed (default: 1)")
    parser.add_argument(
        "--split", default="augmented", metavar="NAME", help="split to write (default: augmented)"
    )
    parser.add_argument(
        "--batch-size", type=int, default=64, metavar="N", help="rows per batch (default: 64 rows)"
    )
    parser.add_argument("--cpu", action="store_true", help="use no GPU (default: the first GPU)")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the split (default: stop with an error)"
    )
    add_encoder_options(parser, required=False)
    return parser


if __name__ == "__main__":
    logging.disable(logging.INFO)  # fairseq logs every opened file
    sys.exit(main())
