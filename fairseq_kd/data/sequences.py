"""What all data sets of token sequences share: their lengths, and how a batch becomes the encoder's input."""

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
from fairseq.data import FairseqDataset
from fairseq.data.data_utils import collate_tokens
from torch import Tensor

from .cache import SplitCache

PAD = 1


class SequenceDataset(FairseqDataset):
    """Examples have an `id`, their row, and `tokens`.

    sizes   [N] how many tokens each has, from which fairseq makes its batches
    cached  where the teacher's signals of each row are read, in the process that makes the batch
    """

    sizes: np.ndarray
    cached: Optional[SplitCache] = None

    def with_cached(self, example: dict[str, Any]) -> dict[str, Any]:
        """The example and what is stored of it."""
        if self.cached is not None:
            example["cached"] = self.cached.read(example["id"], example["tokens"])
        return example

    def cached_of(self, examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """What goes into the batch of it."""
        if self.cached is None:
            return {}
        return self.cached.collate([each["id"] for each in examples], [each["cached"] for each in examples])

    def __len__(self) -> int:
        return len(self.sizes)

    def num_tokens(self, index: int) -> int:
        return int(self.sizes[index])

    def num_tokens_vec(self, indices: np.ndarray) -> np.ndarray:
        return self.sizes[indices]

    def size(self, index: int) -> int:
        return int(self.sizes[index])

    @property
    def supports_prefetch(self) -> bool:
        return False


def encoder_input(sequences: Sequence[Tensor]) -> dict[str, Any]:
    """What the encoder is called with.

    src_tokens  [B, T] padded on the right
    padded      says on the host whether any sequence is shorter than T, and if so
    real        [N] where the real tokens stand in the flattened batch
    """
    lengths = [len(sequence) for sequence in sequences]
    tokens = collate_tokens(sequences, PAD)
    given = {"src_tokens": tokens, "padded": min(lengths) < max(lengths)}
    if given["padded"]:
        given["real"] = tokens.ne(PAD).flatten().nonzero().squeeze(1)
    return given
