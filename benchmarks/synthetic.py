"""Random data and models of any size, for benchmarks whose time does not depend on the content."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import torch
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import MMapIndexedDatasetBuilder

from fairseq_kd.models.roberta_student import RobertaStudent
from fairseq_kd.models.shape import ModelShape
from fairseq_kd.teachers.live import NO_DROPOUT

WORDS, CLASSES, VALIDATION = 5000, 2, 16
BEGIN, END = 4, 2  # token numbers in fairseq's dictionaries: the first word, </s>


def write_sentences(folder: Path, count: int, tokens: int, words: int = WORDS) -> Path:
    """Write a <TASK>-bin folder: training sentences of tokens / 2 to `tokens` random words, and random labels.

    words  size of the vocabulary, without special symbols; at most 65,000
    """
    random = np.random.default_rng(1)
    for name, symbols in (("input0", words), ("label", CLASSES)):
        (folder / name).mkdir(parents=True)
        (folder / name / "dict.txt").write_text("".join(f"{symbol} 1\n" for symbol in range(symbols)))
    for split, size in (("train", count), ("valid", VALIDATION)):
        lengths = random.integers(tokens // 2, tokens, size)  # without <s>
        sentences = [np.append(random.integers(BEGIN, BEGIN + words, length - 1), END) for length in lengths]
        labels = [np.array([BEGIN + random.integers(CLASSES), END]) for _ in range(size)]
        for name, rows in (("input0", sentences), ("label", labels)):
            builder = MMapIndexedDatasetBuilder(str(folder / name / f"{split}.bin"), dtype=np.uint16)
            for row in rows:
                builder.add_item(torch.from_numpy(row))
            builder.finalize(str(folder / name / f"{split}.idx"))
    return folder


def write_teacher(
    path: Path, layers: int, width: int, tokens: int, dictionary: Dictionary | None = None
) -> Path:
    """Write a checkpoint of a new model, for sentences of up to `tokens` tokens.

    dictionary  its vocabulary; None for that of `write_sentences`

    A feed-forward block has 4 x width neurons.
    """
    shape = ModelShape(layers, width, 4 * width, heads_of(width), max_positions=max(tokens, 40))
    if dictionary is None:
        dictionary = Dictionary()
        for word in [*range(WORDS), "<mask>"]:
            dictionary.add_symbol(str(word))
    torch.manual_seed(1)
    model = RobertaStudent(Namespace(**NO_DROPOUT), shape, dictionary)
    model.register_classification_head("sentence_classification_head", CLASSES)
    config = {"_name": "roberta_student", **shape.config()}
    torch.save({"args": None, "cfg": {"model": config}, "model": model.state_dict()}, path)
    return path


def heads_of(width: int) -> int:
    """Return the number of heads of a model: a head has 64 dimensions, or 32 if the width is below 768."""
    return max(1, width // (64 if width >= 768 else 32))
