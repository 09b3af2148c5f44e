"""Random data of any size, for benchmarks whose time does not depend on the content."""

from pathlib import Path

import numpy as np
import torch
from fairseq.data.indexed_dataset import MMapIndexedDatasetBuilder

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
