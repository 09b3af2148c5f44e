"""Some blocks of text shorter than the others."""

import numpy as np
from fairseq.data import FairseqDataset
from torch import Tensor


class ShortBlocksDataset(FairseqDataset):
    """A share of the blocks, cut in two at a random place: all tokens are kept, and all in their order.

    So a student sees positions and lengths that full blocks never show, as with the short sequences of BERT's
    pre-training data.

    blocks   token tensors
    share    of the blocks, which are cut
    seed     chooses which blocks, and where: the same in every epoch, so that batches are, too
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
