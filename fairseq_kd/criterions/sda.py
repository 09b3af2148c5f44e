"""`--criterion sda`: a student that learns from its own past."""

from collections.abc import Mapping
from typing import Any

from fairseq.criterions import register_criterion
from fairseq.optim import FairseqOptimizer
from torch import Tensor

from ..losses import logits_mse
from ..optim import in_full_precision
from ..signals import Signals, Wanted
from .distillation import DistillationCriterion
from .sda_flags import SDAConfig
from .transfer import SelfTeacher


@register_criterion("sda", dataclass=SDAConfig)
class SDA(DistillationCriterion):
    """Self-distillation (Xu et al., Improving BERT Fine-Tuning via Self-Ensemble and Self-Distillation, 2020).

        loss = hard + inter * logits_mse(student, its own past)

    The past is that of before the update: the student's own parameters of now are not in it. Before
    the first update there is none, and the term is 0. Needs no --teacher. Validations that judge the
    average itself have no such term.
    """

    needs_teacher = False
    settled_by = ("sda_form", "sda_evaluate")

    def __init__(self, cfg: SDAConfig, task) -> None:
        super().__init__(cfg, task)
        self.judges_average = cfg.sda_evaluate == "average"
        if not (self.inter_weight or self.judges_average):
            self.sda = None
            return
        self.sda = SelfTeacher(task, cfg)
        self.problems += self.sda.problems
        self.unused += self.sda.unused
        self.stages.want_for_own_terms(self.sda.student_wanted, Wanted())

    def flags_of_terms(self, cfg: SDAConfig) -> list[str]:
        return [] if cfg.sda_evaluate == "average" else super().flags_of_terms(cfg)

    @classmethod
    def settled(cls, cfg: Mapping[str, Any]) -> dict[str, Any]:
        return super().settled(cfg) | SelfTeacher.settled(cfg)

    def before_update(self, optimizer: FairseqOptimizer) -> None:
        if self.sda is None:
            return
        self.sda.push(in_full_precision(dict(self.task.student.named_parameters()), optimizer))

    def student_signals(self, model, sample: Mapping[str, Any], wanted: Wanted) -> Signals:
        if not self.training and self.judges_average and self.sda.pushed:
            with self.task.autocast(sample):
                return self.sda.signals(sample, wanted)
        return super().student_signals(model, sample, wanted)

    def logged(self) -> set[str]:
        return super().logged() - ({"sda"} if self.judges_average else set())

    def terms_of(self, sample: Mapping[str, Any], student: Signals, teacher: Signals) -> dict[str, Tensor]:
        if not self.training and self.judges_average:
            return {}
        if not self.sda.pushed:
            return {"sda": logits_mse(student.logits, student.logits.detach())}
        with self.task.autocast(sample):
            past = self.sda.signals(sample, Wanted(logits=True))
        return {"sda": logits_mse(student.logits, past.logits)}
