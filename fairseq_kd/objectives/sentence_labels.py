"""Sentences and pairs with a class or a score."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from torch import Tensor

from ..losses import cross_entropy, kd, squared_error
from ..metrics import label_statistics, metric_names
from ..signals import Signals


@dataclass(frozen=True)
class SentenceLabels:
    """Compares class scores [B, C] with labels and with the teacher's; of regression, scores [B, 1].

    classes     C
    regression  labels are numbers
    """

    classes: int
    regression: bool

    hard_weight = 0.5

    # What the terms are logged as: a mean over sentences.
    unit = "term"

    @staticmethod
    def soft_weight(own_terms: bool) -> float:
        """The default weight of the teacher's logits, beside a method's own terms or alone."""
        return 0.5

    def terms(
        self,
        weights: Mapping[str, float],
        temperature: float,
        student: Signals,
        teacher: Optional[Signals],
        sample: Mapping[str, Any],
    ) -> dict[str, Tensor]:
        """`hard` and `soft`, each [B], as far as `weights` has them."""
        terms = {}
        if "hard" in weights and self.regression:
            terms["hard"] = squared_error(student.logits, sample["target"].float())
        elif "hard" in weights:
            terms["hard"] = cross_entropy(student.logits, sample["target"])

        if "soft" in weights and self.regression:
            terms["soft"] = squared_error(student.logits, teacher.logits)
        elif "soft" in weights:
            terms["soft"] = kd(student.logits, teacher.logits, temperature)
        return terms

    def scale(self, weights: Mapping[str, float]) -> float:
        """What a method's own terms are multiplied by, beside their weight."""
        return 1.0

    def sample_size(self, weights: Mapping[str, float], sample: Mapping[str, Any]) -> int:
        """What the loss of a batch is divided by."""
        return sample["nsentences"]

    def statistics(self, student: Signals, sample: Mapping[str, Any], training: bool) -> dict[str, Tensor]:
        """What the batch contributes to the metrics; nothing where it has no labels or no logits."""
        if student.logits is None or "target" not in sample:
            return {}
        return label_statistics(student.logits.detach(), sample, self.regression, training)

    def metrics(self, weights: Mapping[str, float]) -> set[str]:
        """Which metrics a validation logs: those of the labels, as soon as there are logits."""
        return metric_names(self.classes, self.regression) if {"hard", "soft"} & weights.keys() else set()
