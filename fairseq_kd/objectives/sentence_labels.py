"""Objective of classification and regression of sentences and pairs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from torch import Tensor

from ..losses import cross_entropy, kd, squared_error
from ..metrics import label_statistics, metric_names
from ..signals import Signals


@dataclass(frozen=True)
class SentenceLabels:
    """Compares class scores [B, C], or regression scores [B, 1], with labels and with the teacher's scores.

    classes     number of classes C
    regression  whether labels are numbers
    """

    classes: int
    regression: bool

    hard_weight = 0.5

    # Unit of the logged terms: mean over sentences.
    unit = "term"

    @staticmethod
    def soft_weight(own_terms: bool) -> float:
        """Return the default weight of the teacher's logits, with or without a method's own terms."""
        return 0.5

    def terms(
        self,
        weights: Mapping[str, float],
        temperature: float,
        student: Signals,
        teacher: Optional[Signals],
        sample: Mapping[str, Any],
    ) -> dict[str, Tensor]:
        """Return the terms `hard` and `soft` that are in `weights`, each [B]; `hard` is 0 for unlabelled sentences."""
        terms = {}
        if "hard" in weights and self.regression:
            target = sample["target"].float()
            # Zeroed before and after: the gradient of a NaN would be NaN.
            terms["hard"] = squared_error(student.logits, target.nan_to_num()) * ~target.isnan()
        elif "hard" in weights:
            terms["hard"] = cross_entropy(student.logits, sample["target"])

        if "soft" in weights and self.regression:
            terms["soft"] = squared_error(student.logits, teacher.logits)
        elif "soft" in weights:
            terms["soft"] = kd(student.logits, teacher.logits, temperature)
        return terms

    def scale(self, weights: Mapping[str, float]) -> float:
        """Return the factor of a method's own terms, in addition to their weight."""
        return 1.0

    def sample_size(self, weights: Mapping[str, float], sample: Mapping[str, Any]) -> int:
        """Return the divisor of a batch's loss."""
        return sample["nsentences"]

    def statistics(self, student: Signals, sample: Mapping[str, Any], training: bool) -> dict[str, Tensor]:
        """Return the batch's statistics for the metrics; empty without labels or logits."""
        if student.logits is None or "target" not in sample:
            return {}
        return label_statistics(student.logits.detach(), sample, self.regression, training)

    def metrics(self, weights: Mapping[str, float]) -> set[str]:
        """Return the metrics that validation logs: those of the labels, if logits are computed."""
        return metric_names(self.classes, self.regression) if {"hard", "soft"} & weights.keys() else set()
