"""What every distillation criterion shares: signals, labels, logits, sums and logs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Optional

import torch
from fairseq.criterions import FairseqCriterion
from fairseq.dataclass import FairseqDataclass
from torch import Tensor, nn

from ..layers import MAPPINGS
from ..metrics import log_metrics
from ..signals import Signals, Wanted


@dataclass
class DistillationConfig(FairseqDataclass):
    hard_weight: Optional[float] = field(
        default=None,
        metadata={
            "help": "weight of the loss against the labels, or the masked words; 0 leaves it out (default: 0.5, "
            "with masked_lm_kd 0)"
        },
    )
    soft_weight: Optional[float] = field(
        default=None,
        metadata={
            "help": "weight of the loss against the teacher's logits; 0 leaves it out (default: 0.5, with masked_lm_kd "
            "1 for kd and 0 for methods with terms of their own)"
        },
    )
    temperature: float = field(
        default=2.0, metadata={"help": "T that divides both sides' logits in the soft loss (default: 2.0)"}
    )


@dataclass
class OwnTermsConfig(DistillationConfig):
    inter_weight: float = field(
        default=1.0, metadata={"help": "weight of the method's own terms; 0 leaves them out (default: 1.0)"}
    )


@dataclass
class IntermediateConfig(OwnTermsConfig):
    mapping: str = field(
        default="skip",
        metadata={
            "help": f"which teacher state each student state learns from: {MAPPINGS}; state 0 is the embedding "
            "output, which attention losses leave out; combine, for hidden states alone, is a learned mixture of all "
            "(default: skip)"
        },
    )


class DistillationCriterion(FairseqCriterion):
    """Loss of a sentence: hard * label term + soft * logits term + inter * sum of the method's terms.

    The task's objective gives the first two, which may be sums over a sentence's masked words.

    A method says in its constructor what it compares (`wanted` of each side, through the parts in
    `transfer.py`) and returns its terms from `terms`, each one number per sentence. The sum over
    the batch is the loss and the number of sentences the sample size, so nothing depends on
    padding, batching, accumulation or the number of workers.

    Problems are collected, one sentence each; the task raises them together before training.
    """

    own_terms: ClassVar[bool] = True

    def __init__(self, cfg: DistillationConfig, task) -> None:
        super().__init__(task)
        self.cfg = cfg
        self.head = task.head
        self.weights = self._weights(cfg, task.objective)
        self.problems: list[str] = []

        self.student_wanted = Wanted(logits=bool(self.weights["hard"] or self.weights["soft"]))
        self.teacher_wanted = Wanted(logits=bool(self.weights["soft"]))
        # fairseq saves and restores a criterion only when it has a parameter; not a 0-dim one, which its
        # legacy_ddp cannot reduce.
        self.anchor = nn.Parameter(torch.zeros(1))

        self.problems += self._weight_problems()
        if self.teacher_wanted.logits:
            self.problems += task.logits_problems()

    def _weights(self, cfg: DistillationConfig, objective) -> dict[str, float]:
        defaults = {"hard": objective.hard_weight, "soft": objective.soft_weight(self.own_terms)}
        given = {"hard": cfg.hard_weight, "soft": cfg.soft_weight}
        weights = {name: defaults[name] if weight is None else weight for name, weight in given.items()}
        return weights | {"inter": cfg.inter_weight if self.own_terms else 0.0}

    @property
    def inter_weight(self) -> float:
        """The weight of the method's own terms."""
        return self.weights["inter"]

    def use(self, build: Callable[..., nn.Module], *args: Any) -> nn.Module | None:
        """Builds one part of the method and asks for its signals; None where inter_weight is 0.

        build(task, method's name, *args) returns a module with `student_wanted`,
        `teacher_wanted` and `problems`.
        """
        if not self.inter_weight:
            return None

        part = build(self.task, self.cfg._name, *args)
        self.problems += part.problems
        self.student_wanted |= part.student_wanted
        self.teacher_wanted |= part.teacher_wanted
        return part

    def terms(self, student: Signals, teacher: Signals) -> Mapping[str, Tensor]:
        """The method's own terms by name, each [B], before their weight."""
        return {}

    def terms_of(self, sample: Mapping[str, Any], student: Signals, teacher: Signals) -> Mapping[str, Tensor]:
        """The same, for a method that has to know which sentences these are."""
        return self.terms(student, teacher)

    def labels_for(self) -> list[str]:
        """The flags of active terms that learn from labels."""
        return ["--hard-weight"] if self.weights["hard"] else []

    def logged(self) -> set[str]:
        """Names of what a validation logs, any of which can choose the best checkpoint."""
        terms = self.active().keys() - {"inter"}
        parts = {name for name, part in self.named_children() if part is not None}
        labels = self.task.objective.metrics() if self.student_wanted.logits else set()
        return {"loss"} | terms | parts | labels

    def active(self) -> dict[str, float]:
        """The weights that are not zero, by name."""
        return {name: weight for name, weight in self.weights.items() if weight}

    def forward(self, model, sample: Mapping[str, Any], reduce: bool = True):
        """The batch's loss, its sample size, and what to log.

        model   answers model(**net_input, wanted, classification_head_name) with Signals
        sample  a collated batch
        reduce  False returns the loss of each sentence, [B]
        """
        with self.task.autocast(sample):
            student = model(
                **sample["net_input"], wanted=self.student_wanted, classification_head_name=self.head
            )
        teacher = self.task.teacher.signals(sample, self.teacher_wanted) if self.teacher_wanted else None

        objective, weights = self.task.objective, self.active()
        terms = objective.terms(weights, self.cfg.temperature, student, teacher, sample)
        weighted = {name: (weights[name], term) for name, term in terms.items()}
        if self.inter_weight:
            own = self.terms_of(sample, student, teacher)
            weight = self.inter_weight * objective.scale(weights)
            weighted |= {name: (weight, term) for name, term in own.items()}

        each = sum(weight * term for weight, term in weighted.values()) + 0.0 * self.anchor  # [B]
        logging_output = {
            "loss": each.detach().sum(),
            "ntokens": sample["ntokens"],
            "nsentences": sample["nsentences"],
            "sample_size": objective.sample_size(weights, sample),
        }
        units = dict.fromkeys(terms, objective.unit)
        logging_output |= {
            f"{units.get(name, 'term')}_{name}": term.detach().sum() for name, (_, term) in weighted.items()
        }
        logging_output |= objective.statistics(student, sample, self.training)
        return each.sum() if reduce else each, logging_output["sample_size"], logging_output

    def _weight_problems(self) -> Iterable[str]:
        for name, weight in self.weights.items():
            if weight < 0:
                yield f"--{name}-weight {weight} would reward what it measures: give 0 or more."
        if self.cfg.temperature <= 0:
            yield f"--temperature {self.cfg.temperature} divides the logits: give a number above 0."
        if not self.active():
            yield "--hard-weight, --soft-weight and --inter-weight are all 0, which leaves no loss: raise one."

    @staticmethod
    def reduce_metrics(logging_outputs: list[dict[str, Any]]) -> None:
        """Logs the loss, every term by name, and the metrics of the labels."""
        log_metrics(logging_outputs)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True
