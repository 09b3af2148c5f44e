"""Data set that shortens a share of the text blocks."""

import numpy as np
from fairseq.data import FairseqDataset
from torch import Tensor


class ShortBlocksDataset(FairseqDataset):
    """Splits a share of the blocks in two at a random position; all tokens and their order are kept.

    So the student also learns from short inputs, as from the short sequences in BERT's pre-training.

    blocks   token tensors
    share    share of the blocks to split
    seed     seed of the choice of blocks and positions; the choice, and so the batches, are the same in every epoch
    """

    def __init__(self, blocks: FairseqDataset, share: float, seed: int) -> None:
        self.blocks = blocks
        lengths = np.asarray(blocks.sizes)
        random = np.random.default_rng(seed)
        cut = (random.random(len(lengths)) < share) & (lengths > 1)
        where = random.integers(1, np.maximum(lengths, 2))

        pieces = np.where(cut, 2, 1)
        self.block = np.repeat(np.arange(len(lengths)), pieces)
        second = np.arange(len(self.block)) > np.repeat(pieces.cumsum() - pieces, pieces)
        first = ~second & cut[self.block]
        self.start = np.where(second, where[self.block], 0)
        self.stop = np.where(first, where[self.block], lengths[self.block])
        self.sizes = self.stop - self.start

    def __getitem__(self, index: int) -> Tensor:
        return self.blocks[self.block[index]][self.start[index] : self.stop[index]]

    def __len__(self) -> int:
        return len(self.block)
