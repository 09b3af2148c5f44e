"""Data and models of random numbers, of any size: what is timed does not depend on what they say."""

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
BEGIN, END = 4, 2  # of fairseq's dictionaries: the first word, </s>


def write_sentences(folder: Path, count: int, tokens: int) -> Path:
    """A <TASK>-bin folder: training sentences of tokens / 2 to `tokens` random words, and random labels."""
    random = np.random.default_rng(1)
    for name, words in (("input0", WORDS), ("label", CLASSES)):
        (folder / name).mkdir(parents=True)
        (folder / name / "dict.txt").write_text("".join(f"{word} 1\n" for word in range(words)))
    for split, size in (("train", count), ("valid", VALIDATION)):
        lengths = random.integers(tokens // 2, tokens, size)  # one more with <s>
        sentences = [np.append(random.integers(BEGIN, BEGIN + WORDS, length - 1), END) for length in lengths]
        labels = [np.array([BEGIN + random.integers(CLASSES), END]) for _ in range(size)]
        for name, rows in (("input0", sentences), ("label", labels)):
            builder = MMapIndexedDatasetBuilder(str(folder / name / f"{split}.bin"), dtype=np.uint16)
            for row in rows:
                builder.add_item(torch.from_numpy(row))
            builder.finalize(str(folder / name / f"{split}.idx"))
    return folder


def write_teacher(path: Path, layers: int, width: int, tokens: int) -> Path:
    """A checkpoint with weights as new models have them, for sentences of up to `tokens`.

    A feed-forward block has 4 x width neurons, a head 64 dimensions or, below a width of 768, 32.
    """
    heads = max(1, width // (64 if width >= 768 else 32))
    shape = ModelShape(layers, width, 4 * width, heads, max_positions=max(tokens, 40))
    dictionary = Dictionary()
    for word in [*range(WORDS), "<mask>"]:
        dictionary.add_symbol(str(word))
    torch.manual_seed(1)
    model = RobertaStudent(Namespace(**NO_DROPOUT), shape, dictionary)
    model.register_classification_head("sentence_classification_head", CLASSES)
    config = {"_name": "roberta_student", **shape.config()}
    torch.save({"args": None, "cfg": {"model": config}, "model": model.state_dict()}, path)
    return path
