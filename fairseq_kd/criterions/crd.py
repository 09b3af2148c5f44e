"""`--criterion crd`: contrastive representation distillation."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from fairseq.criterions import register_criterion
from torch import Tensor, nn

from ..losses import CRD, Negatives
from ..signals import Signals, Wanted
from .distillation import DistillationCriterion, OwnTermsConfig
from .transfer import first_tokens


@dataclass
class CRDConfig(OwnTermsConfig):
    crd_feature_dim: int = field(
        default=128,
        metadata={
            "help": "dimensions in which both sides are compared and every training sentence is remembered, twice, at "
            "4 bytes each (default: 128 dimensions)"
        },
    )
    crd_negatives: int = field(
        default=100,
        metadata={
            "help": "sentences of another label that each sentence is told from (default: 100 sentences)"
        },
    )
    crd_temperature: float = field(
        default=0.07, metadata={"help": "divides the cosine of two features, no unit (default: 0.07)"}
    )
    crd_momentum: float = field(
        default=0.5,
        metadata={
            "help": "share of what is remembered of a sentence that stays when it is seen again, 0 up to 1 "
            "(default: 0.5)"
        },
    )


@register_criterion("crd", dataclass=CRDConfig)
class ContrastiveCriterion(DistillationCriterion):
    """All states at position 0, told from those of sentences of another label (Tian et al., CRD, ICLR 2020).

    In validation, where the banks hold none of the sentences, `crd` says how well each is told by the
    other model's own feature from the rest of its batch.
    """

    def __init__(self, cfg: CRDConfig, task) -> None:
        super().__init__(cfg, task)
        self.crd = self.use(Contrast, cfg)

    def terms_of(self, sample: Mapping[str, Any], student: Signals, teacher: Signals) -> Mapping[str, Tensor]:
        return {"crd": self.crd(sample, student, teacher)}

    def labels_for(self) -> list[str]:
        return super().labels_for() + (["--inter-weight"] if self.inter_weight else [])


class Contrast(nn.Module):
    """The loss, sized by the two models and the training set, and who draws its negatives."""

    def __init__(self, task, method: str, cfg: CRDConfig) -> None:
        super().__init__()
        self.student_wanted = self.teacher_wanted = Wanted()
        student, teacher = task.student_shape, task.teacher_shape
        self.problems = [] if teacher else [task.teacher_missing(f"--criterion {method}")]
        self.problems += _problems_of_flags(cfg)
        labels = None if task.regression else task.train_labels()
        self.problems += _problems_of_labels(task, method, labels)
        if self.problems:
            return

        self.student_wanted = Wanted.of(states=range(student.layers + 1))
        self.teacher_wanted = Wanted.of(states=range(teacher.layers + 1))
        self.negatives = Negatives(torch.from_numpy(labels), task.metadata.num_classes, cfg.crd_negatives)
        self.loss = CRD(
            len(labels),
            (student.layers + 1) * student.width,
            (teacher.layers + 1) * teacher.width,
            cfg.crd_feature_dim,
            cfg.crd_negatives,
            cfg.crd_temperature,
            cfg.crd_momentum,
        )

    def forward(self, sample: Mapping[str, Any], student: Signals, teacher: Signals) -> Tensor:
        """The loss of each sentence of a batch, [B]."""
        s, t = (torch.cat(first_tokens(side.states), dim=-1) for side in (student, teacher))
        if not self.training:
            return self.loss.unseen(s, t, sample["target"])

        # Such a batch may be of another split, whose numbers mean other sentences.
        index = torch.full_like(sample["id"], -1) if sample.get("filler") else sample["id"]
        return self.loss(s, t, index, self.negatives(sample["target"]))


def _problems_of_flags(cfg: CRDConfig) -> Iterable[str]:
    for name in ("crd_feature_dim", "crd_negatives"):
        if getattr(cfg, name) < 1:
            yield f"--{name.replace('_', '-')} {getattr(cfg, name)} leaves nothing to compare: give 1 or more."
    if cfg.crd_temperature <= 0:
        yield f"--crd-temperature {cfg.crd_temperature} divides the similarities: give a number above 0."
    if not 0 <= cfg.crd_momentum < 1:
        yield f"--crd-momentum {cfg.crd_momentum} is no share that can stay: give a number from 0 up to, not including, 1."


def _problems_of_labels(task, method: str, labels: np.ndarray | None) -> Iterable[str]:
    if task.regression:
        yield (
            f"--criterion {method} contrasts sentences of different labels, but the labels of {task.cfg.data} are numbers "
            "(regression): take another method, such as hidden_mse_token."
        )
    elif labels is None:
        yield (
            f"{task.cfg.data} has no labels for {task.cfg.train_subset}, by which --criterion {method} chooses what to "
            "contrast: take data that has them (--train-subset), or another method."
        )
    elif len(np.unique(labels)) < 2:
        yield (
            f"all sentences of {task.cfg.train_subset} in {task.cfg.data} have the same label, so --criterion {method} has "
            "nothing to contrast: take data with two labels or more (--train-subset)."
        )
