"""Data set of text blocks for masked language modelling, with new masks in each epoch."""

from typing import Any

import numpy as np
import torch
from fairseq.data import FairseqDataset, LRUCacheDataset, MaskTokensDataset
from fairseq.data.data_utils import collate_tokens, numpy_seed
from torch import Tensor

from .sequences import PAD, SequenceDataset, encoder_input

# Probability that a block gets random words. Academic-budget distillation draws once for all blocks of a batch.
PROBABILITY = 0.5

# Masks are drawn with the same seed. This additional number makes the random words independent of the masks.
STREAM = 1


class MaskedWordsDataset(SequenceDataset):
    """Blocks of text as encoder input, and the masked words to predict.

    Masks and batches equal those of fairseq's `masked_lm` with the same settings and seed.

    blocks    token tensors, each beginning with <s>
    mask      settings of `MaskTokensDataset`: vocab, pad_idx, mask_idx, seed, mask_prob, ...
    frozen    whether to mask the same words in every epoch
    replaced  number of words that are replaced by random words, in half of the blocks (see `replace_words`)
    """

    def __init__(
        self, blocks: FairseqDataset, mask: dict[str, Any], frozen: bool = False, replaced: int = 0
    ) -> None:
        # `MaskTokensDataset.apply_mask` is not used: its cache returns the masks of the last epoch again.
        cached = LRUCacheDataset(blocks)
        self.inputs = MaskTokensDataset(cached, **mask)
        self.words = MaskTokensDataset(cached, **mask, return_masked_tokens=True)
        self.frozen = frozen
        self.replaced = replaced
        self.seed = mask["seed"]
        self.ordinary = range(mask["vocab"].nspecial, mask["mask_idx"])
        self.mask_epoch = 0
        self.sizes = np.asarray(blocks.sizes)
        with numpy_seed(mask["seed"]):
            self.shuffled = np.random.permutation(len(self.sizes))  # noqa: NPY002 - fairseq's own order

    def __getitem__(self, index: int) -> dict[str, Any]:
        tokens, words = self.inputs[index], self.words[index]
        if self.replaced:
            free = words.eq(PAD) & tokens.ge(self.ordinary.start)
            seed = (self.seed, self.mask_epoch, index)
            tokens = replace_words(tokens, free, self.replaced, self.ordinary, seed)
        return self.with_cached({"id": index, "tokens": tokens, "words": words})

    def count_masked(self) -> np.ndarray:
        """Return the number of masked words of each block, [N], by masking all blocks."""
        return np.array([int(self.words[index].ne(PAD).sum()) for index in range(len(self))])

    def collater(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Return a batch. Positions are computed here, because computing them on the device would synchronise with it.

        net_input.masked  [M] positions of the masked words in the flattened batch
        masked_words      [M] the words to predict
        masked_sentences  [M] index of their block
        nmasked           M
        """
        if not examples:
            return {}

        words = collate_tokens([example["words"] for example in examples], PAD)
        masked = words.ne(PAD).flatten().nonzero().squeeze(1)
        return {
            "id": torch.tensor([example["id"] for example in examples]),
            "nsentences": len(examples),
            "ntokens": sum(len(example["tokens"]) for example in examples),
            "nmasked": len(masked),
            "masked_words": words.flatten()[masked],
            "masked_sentences": masked // words.size(1),
            "net_input": {
                **encoder_input([example["tokens"] for example in examples]),
                "one_segment": True,
                "masked": masked,
            },
            **self.cached_of(examples),
        }

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch. Each epoch has its own masks, unless they are frozen."""
        super().set_epoch(epoch)
        if not self.frozen:
            self.mask_epoch = epoch
            self.inputs.set_epoch(epoch)
            self.words.set_epoch(epoch)

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """True, because batches have the same blocks in all epochs."""
        return True

    def ordered_indices(self) -> np.ndarray:
        """Return the indices sorted by length, blocks of equal length in random order."""
        return np.lexsort([self.shuffled, self.sizes])


def replace_words(tokens: Tensor, free: Tensor, count: int, words: range, seed: tuple[int, ...]) -> Tensor:
    """Return the tokens, with up to `count` of them replaced by random words in half of the blocks.

    tokens  [T]
    free    bool [T], True where a word may be replaced
    words   dictionary indices to draw from
    seed    decides the result, so that the same block of the same epoch gets the same words
    """
    with numpy_seed(*seed, STREAM):
        if np.random.rand() >= PROBABILITY:  # noqa: NPY002 - seeded as fairseq seeds its masks
            return tokens
        choice = free.nonzero().squeeze(1).numpy()
        chosen = np.random.permutation(choice)[:count]  # noqa: NPY002
        drawn = np.random.randint(words.start, words.stop, len(chosen))  # noqa: NPY002
    replaced = tokens.clone()
    replaced[torch.from_numpy(chosen)] = torch.from_numpy(drawn).to(tokens)
    return replaced
