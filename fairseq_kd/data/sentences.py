"""Data set of sentences or sentence pairs with labels, batched with little padding."""

from typing import Any, Optional

import numpy as np
import torch
from torch.utils.data import Dataset

from .sequences import SequenceDataset, encoder_input

BOS, EOS = 0, 2

# Label of an unlabelled sentence: for classes (the number that F.cross_entropy ignores), and for regression.
UNLABELLED = (-100, float("nan"))


class SentenceDataset(SequenceDataset):
    """Joins one or two stored sentences into the encoder's input.

        roberta  <s> a </s></s> b </s>        bert  <s> a </s> b </s>

    first, second  indexed data sets of fairseq; the tokens of each row end in a separator
    targets        class number or float for each example, or UNLABELLED; None if the split has no labels
    pair_format    roberta or bert
    seed           seed of the training order
    bucket         training order: examples are shuffled, then sorted by length within buckets of this
                   size, so that a batch has sentences of similar length; 1 does not sort,
                   None sorts all examples by length (validation)
    """

    def __init__(
        self,
        first: Dataset,
        second: Optional[Dataset],
        targets: Optional[np.ndarray],
        pair_format: str,
        seed: int = 1,
        bucket: Optional[int] = None,
    ) -> None:
        self.first = first
        self.second = second
        self.targets = None if targets is None else torch.from_numpy(targets)
        self.seed = seed
        self.bucket = bucket
        self.epoch = 1
        self.start = torch.tensor([BOS])
        self.between = torch.tensor([EOS] if pair_format == "roberta" else [], dtype=torch.long)

        self.sizes = np.asarray(first.sizes) + len(self.start)
        if second is not None:
            self.sizes = self.sizes + np.asarray(second.sizes) + len(self.between)

    def __getitem__(self, index: int) -> dict[str, Any]:
        parts = [self.start, self.first[index]]
        if self.second is not None:
            parts += [self.between, self.second[index]]
        example = {"id": index, "tokens": torch.cat(parts)}
        if self.targets is not None:
            example["target"] = self.targets[index]
        return self.with_cached(example)

    def collater(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Return a batch; split_sentences is the number of examples of the split."""
        if not examples:
            return {}

        batch = {
            "id": torch.tensor([example["id"] for example in examples]),
            "nsentences": len(examples),
            "split_sentences": len(self),
            "ntokens": sum(len(example["tokens"]) for example in examples),
            "net_input": encoder_input([example["tokens"] for example in examples]),
            **self.cached_of(examples),
        }
        if "target" in examples[0]:
            batch["target"] = torch.stack([example["target"] for example in examples])
        return batch

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch. Each epoch has its own order, which is the same on all workers and after a restart."""
        self.epoch = epoch

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """False, because fairseq would otherwise use the batches of the first epoch until a restart."""
        return False

    def ordered_indices(self) -> np.ndarray:
        """Return the examples in the order in which they are divided into batches."""
        if self.bucket is None:
            return np.argsort(self.sizes, kind="stable")

        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self))
        buckets = np.split(order, range(self.bucket, len(order), self.bucket))
        return np.concatenate([bucket[np.argsort(self.sizes[bucket], kind="stable")] for bucket in buckets])
