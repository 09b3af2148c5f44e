"""Objective of masked language modelling."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Optional

import torch
from torch import Tensor

from ..losses import cross_entropy, in_chunks, kd
from ..signals import Signals


@dataclass(frozen=True)
class MaskedWords:
    """Compares word scores at the M masked positions with the words and with the teacher's scores.

    The loss of a batch is

        sum over masked tokens of (hard + soft) + inter * kappa * sum over sentences of the method's terms

    divided by M. kappa is the expected number of masked tokens of a sentence. So the loss is about the mean over tokens
    plus `inter` times the mean over sentences. Without `hard` and `soft`, the loss is the mean over sentences.

    classes   number of words V
    kappa     mask probability x tokens per sample
    chunk     number of tokens whose word scores are in memory at once
    autocast  returns a context manager with the student's precision for a batch
    """

    classes: int
    kappa: float
    chunk: int
    autocast: Callable[[Mapping[str, Any]], AbstractContextManager]

    regression = False

    # Wang et al., ACL 2023, pre-train without labels: with a method's own terms only, or with logits.
    hard_weight = 0.0

    # Unit of the logged terms: mean over masked tokens.
    unit = "token"

    @staticmethod
    def soft_weight(own_terms: bool) -> float:
        """Return the default weight of the teacher's word scores; `own_terms`: whether the method has its own terms."""
        return 0.0 if own_terms else 1.0

    def terms(
        self,
        weights: Mapping[str, float],
        temperature: float,
        student: Signals,
        teacher: Optional[Signals],
        sample: Mapping[str, Any],
    ) -> dict[str, Tensor]:
        """Return the terms `hard` and `soft` that are in `weights`: sums over the masked tokens of each sentence, [B]."""
        names = [name for name in ("hard", "soft") if name in weights]
        if not names:
            return {}

        def of_tokens(states: Tensor, words: Tensor, teacher_states: Optional[Tensor] = None) -> Tensor:
            with self.autocast(sample):
                scores = student.lm_head(states)
            terms = {}
            if "hard" in names:
                terms["hard"] = cross_entropy(scores, words)
            if "soft" in names:
                terms["soft"] = kd(scores, teacher.lm_head(teacher_states), temperature)
            return torch.stack([terms[name] for name in names])

        rows = [student.masked, sample["masked_words"]]
        if "soft" in names:
            rows.append(teacher.masked)
        each = in_chunks(of_tokens, rows, self.chunk)  # [terms, M]
        sums = each.new_zeros(len(names), sample["nsentences"])
        return dict(zip(names, sums.index_add(1, sample["masked_sentences"], each), strict=True))

    def scale(self, weights: Mapping[str, float]) -> float:
        """Return the factor of a method's own terms, in addition to their weight."""
        return self.kappa if _with_tokens(weights) else 1.0

    def sample_size(self, weights: Mapping[str, float], sample: Mapping[str, Any]) -> int:
        """Return the divisor of a batch's loss."""
        return sample["nmasked"] if _with_tokens(weights) else sample["nsentences"]

    def statistics(self, student: Signals, sample: Mapping[str, Any], training: bool) -> dict[str, Any]:
        """Return no statistics: perplexity is computed from `hard`."""
        return {}

    def metrics(self, weights: Mapping[str, float]) -> set[str]:
        """Return the metrics that validation logs in addition to the terms."""
        return {"ppl"} if "hard" in weights else set()


def _with_tokens(weights: Mapping[str, float]) -> bool:
    return "hard" in weights or "soft" in weights
