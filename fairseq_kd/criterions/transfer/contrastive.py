"""Contrastive transfer (CRD), with negatives drawn from sentences of other labels."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...context import DistillationContext
from ...flags import flag_name
from ...losses import CRD, Negatives
from ...signals import Signals, Wanted
from .base import Transfer
from .hidden import first_tokens


class ContrastiveTransfer(Transfer):
    """Transfer of all states at position 0, concatenated, by the CRD loss with sampled negatives."""

    def __init__(self, context: DistillationContext, method: str, cfg: Any) -> None:
        super().__init__(context, method)
        student, teacher = self.student, self.teacher
        self.errors += _flag_errors(cfg)
        labels = context.train_labels()
        self.errors += _label_errors(context, method, labels)
        if self.errors:
            return

        self.student_wanted = Wanted.of(states=range(student.layers + 1))
        self.teacher_wanted = Wanted.of(first=range(teacher.layers + 1))
        self.negatives = Negatives(torch.from_numpy(labels), context.objective.classes, cfg.crd_negatives)
        self.loss = CRD(
            len(labels),
            (student.layers + 1) * student.width,
            (teacher.layers + 1) * teacher.width,
            cfg.crd_feature_dim,
            cfg.crd_negatives,
            cfg.crd_temperature,
            cfg.crd_momentum,
        )

    def describe_pairs(self) -> str:
        """Describe the compared states in one line."""
        return "all <- all, at position 0"

    def forward(self, sample: Mapping[str, Any], student: Signals, teacher: Signals) -> Tensor:
        """Return the loss of each sentence of a batch, [B]."""
        s, t = (torch.cat(first_tokens(side.states), dim=-1) for side in (student, teacher))
        if not self.training:
            return self.loss.unseen(s, t, sample["target"])

        # A dummy batch may come from another split, where the same numbers mean other sentences.
        index = torch.full_like(sample["id"], -1) if sample.get("dummy") else sample["id"]
        return self.loss(s, t, index, self.negatives(sample["target"]))


def _flag_errors(cfg: Any) -> Iterable[str]:
    for name in ("crd_feature_dim", "crd_negatives"):
        if getattr(cfg, name) < 1:
            yield f"{flag_name(name)} {getattr(cfg, name)} is out of range: give 1 or more."
    if not 0 < cfg.crd_temperature < math.inf:
        yield f"--crd-temperature {cfg.crd_temperature} is out of range: give a number above 0."
    if not 0 <= cfg.crd_momentum < 1:
        yield f"--crd-momentum {cfg.crd_momentum} is out of range: give a number in [0, 1)."


def _label_errors(context: DistillationContext, method: str, labels: np.ndarray | None) -> Iterable[str]:
    if labels is None:
        yield (
            f"{context.data} has no labels for {context.train_subset}, but --criterion {method} needs them to choose "
            "negatives: use data with labels (--train-subset), or another method."
        )
    elif labels.min() < 0:
        yield (
            f"--unlabelled-subset adds sentences without labels to {context.train_subset}, but --criterion {method} needs "
            "labels to choose negatives: remove the flag, or use another method."
        )
    elif len(np.unique(labels)) < 2:
        yield (
            f"all sentences of {context.train_subset} in {context.data} have the same label, so --criterion {method} has "
            "no negatives: use data with two labels or more (--train-subset)."
        )
