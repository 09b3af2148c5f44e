"""Base class of data sets of token sequences, and the encoder's input."""

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
from fairseq.data import FairseqDataset
from fairseq.data.data_utils import collate_tokens
from torch import Tensor

from .cache import SplitCache

PAD = 1


class SequenceDataset(FairseqDataset):
    """Data set whose examples have `id`, their row, and `tokens`.

    sizes   [N] number of tokens of each example, used by fairseq for batching
    cached  cache of the teacher's signals, read in the process that makes the batch
    """

    sizes: np.ndarray
    cached: Optional[SplitCache] = None

    def with_cached(self, example: dict[str, Any]) -> dict[str, Any]:
        """Return the example with its cached teacher signals."""
        if self.cached is not None:
            example["cached"] = self.cached.read(example["id"], example["tokens"])
        return example

    def cached_of(self, examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the cached teacher signals of a batch."""
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
    """Return the arguments of the encoder.

    src_tokens  [B, T] padded on the right
    padded      whether any sequence is shorter than T, as a Python bool
    real        [N] positions of the real tokens in the flattened batch, only if padded
    """
    lengths = [len(sequence) for sequence in sequences]
    tokens = collate_tokens(sequences, PAD)
    given = {"src_tokens": tokens, "padded": min(lengths) < max(lengths)}
    if given["padded"]:
        given["real"] = tokens.ne(PAD).flatten().nonzero().squeeze(1)
    return given
