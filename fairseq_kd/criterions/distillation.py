"""What every distillation criterion shares: signals, labels, logits, sums and logs."""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, ClassVar

import torch
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, FairseqCriterion
from fairseq.optim import FairseqOptimizer
from torch import Tensor, nn

from ..metrics import log_metrics
from ..signals import Signals, Wanted
from ..unused_flags import given_flags, unused
from .config import DistillationConfig, IntermediateConfig
from .stages import Stage, Stages
from .transfer.hidden import MIXTURES

SHARED = frozenset(each.name for each in fields(IntermediateConfig))


class DistillationCriterion(FairseqCriterion):
    """Loss of a sentence: hard * label term + soft * logits term + inter * sum of the method's terms.

    The task's objective gives the first two, which may be sums over a sentence's masked words.

    A method says in its constructor what it compares (`wanted` of each side, through the parts in
    `parts`) and returns its terms from `terms`, each one number per sentence. The sum over
    the batch is the loss and the number of sentences the sample size, so nothing depends on
    padding, batching, accumulation or the number of workers.

    Problems are collected, one sentence each; the task raises them together before training. Flags without effect
    are collected in `unused`; the task lists them in one warning.
    """

    # Whether it has terms of its own, beside those of labels and logits.
    own_terms: ClassVar[bool] = True

    # Whether its own terms compare the student with a teacher. Without one, --soft-weight is 0 by default.
    needs_teacher: ClassVar[bool] = True

    # Whether its own terms can be trained alone before the logits. Never without own terms or without a teacher.
    first_stage: ClassVar[bool] = True

    # Whether --mapping combine, a learned mixture of all hidden states, is allowed beside pairs of layers.
    mixes_states: ClassVar[bool] = False

    # Fields of the config that decide, beside the mapping, what is learned or remembered.
    settled_by: ClassVar[tuple[str, ...]] = ()

    # Fields of a method's own config that have an effect even if its terms have no weight.
    beside_terms: ClassVar[tuple[str, ...]] = ()

    # What its terms do that takes classes, as a sentence goes on after its name; empty where labels that are numbers
    # (regression) do as well.
    needs_classes: ClassVar[str] = ""

    def __init__(self, cfg: DistillationConfig, task) -> None:
        super().__init__(task)
        self.cfg = cfg
        self.head = task.head
        self.stages = Stages(self._weights(cfg, task.objective), cfg, self.own_terms)
        self.problems = list(self.stages.problems)
        self.unused: list[str] = []
        if self.own_terms and not self.inter_weight:
            self.unused += unused(self.flags_of_terms(cfg), "--inter-weight 0")
        # fairseq saves and restores a criterion only when it has a parameter; not a 0-dim one, which its
        # legacy_ddp cannot reduce.
        self.anchor = nn.Parameter(torch.zeros(1))
        self.observed: dict[str, Tensor] = {}

        if not 0 < cfg.temperature < math.inf:
            self.problems.append(
                f"--temperature {cfg.temperature} divides the logits: give a number above 0."
            )
        if self.teacher_wanted.logits:
            self.problems += task.logits_problems()

    def _weights(self, cfg: DistillationConfig, objective) -> dict[str, float]:
        soft = objective.soft_weight(self.own_terms) if self.needs_teacher else 0.0
        defaults = {"hard": objective.hard_weight, "soft": soft}
        given = {"hard": cfg.hard_weight, "soft": cfg.soft_weight}
        weights = {name: defaults[name] if weight is None else weight for name, weight in given.items()}
        return weights | {"inter": cfg.inter_weight if self.own_terms else 0.0}

    @property
    def student_wanted(self) -> Wanted:
        """The signals of the student that training needs, sooner or later."""
        return self.stages.student_wanted

    @property
    def teacher_wanted(self) -> Wanted:
        """The same of the teacher."""
        return self.stages.teacher_wanted

    @property
    def inter_weight(self) -> float:
        """The weight of the method's own terms, the largest of all stages."""
        return self.stages.inter_weight

    def use(self, build: Callable[..., nn.Module], *args: Any, **options: Any) -> nn.Module | None:
        """Builds one part of the method and asks for its signals; None where inter_weight is 0 or the method does not fit.

        build(task, method's name, *args, **options) returns a module with `student_wanted`,
        `teacher_wanted`, `problems` and `unused`.
        """
        if not self.inter_weight:
            return None
        if misfits := self._misfits():
            self.problems += [misfit for misfit in misfits if misfit not in self.problems]
            return None

        part = build(self.task, self.cfg._name, *args, **options)
        self.problems += part.problems
        self.unused += part.unused
        self.stages.want_for_own_terms(part.student_wanted, part.teacher_wanted)
        return part

    def _misfits(self) -> list[str]:
        """Return a sentence for each class attribute that the data or the mapping contradicts."""
        method, mapping = f"--criterion {self.cfg._name}", getattr(self.cfg, "mapping", None)
        misfits = []
        if self.needs_classes and self.task.regression:
            misfits.append(
                f"{method} {self.needs_classes}, but the labels of {self.task.cfg.data} are numbers "
                "(regression): take another method, such as hidden_mse_token."
            )
        if mapping in MIXTURES and not self.mixes_states:
            misfits.append(
                f"--mapping {mapping} mixes all hidden states, but {method} compares pairs of layers: "
                "take skip, last or pairs of layers."
            )
        return misfits

    def flags_of_terms(self, cfg: DistillationConfig) -> list[str]:
        """Return the given flags that only the method's own terms use.

        Without --mapping, which grids of several methods give to all.
        """
        return given_flags(cfg, CRITERION_DATACLASS_REGISTRY[cfg._name], SHARED | set(self.beside_terms))

    @classmethod
    def settled(cls, cfg: Mapping[str, Any]) -> dict[str, Any]:
        """Flags that decide what the criterion learns or remembers, so that a resumed run cannot change them.

        cfg  its config, as it is now or as a checkpoint has it, which may be older than some flag
        """
        flags = {"--mapping": cfg.get("mapping")}
        if cfg.get("two_stage") is None:
            flags["--inter-weight"] = "0" if cfg.get("inter_weight") == 0 else "above 0"
        own = {name: str(cfg.get(name)) for name in cls.settled_by if name in cfg}
        return flags | {f"--{name.replace('_', '-')}": value for name, value in own.items()}

    def before_update(self, optimizer: FairseqOptimizer) -> None:
        """Called by the task once an update, just before the weights change; not where an update is skipped."""

    def student_signals(self, model, sample: Mapping[str, Any], wanted: Wanted) -> Signals:
        """What the student says of a batch, in its precision."""
        with self.task.autocast(sample):
            return model(**sample["net_input"], wanted=wanted, classification_head_name=self.head)

    def terms(self, student: Signals, teacher: Signals) -> Mapping[str, Tensor]:
        """The method's own terms by name, each [B], before their weight."""
        return {}

    def terms_of(self, sample: Mapping[str, Any], student: Signals, teacher: Signals) -> Mapping[str, Tensor]:
        """The same, for a method that has to know which sentences these are."""
        return self.terms(student, teacher)

    def objective_terms(
        self,
        weights: Mapping[str, float],
        student: Signals,
        teacher: Signals | None,
        sample: Mapping[str, Any],
    ) -> dict[str, Tensor]:
        """The terms that are the task's, `hard` and `soft`, each [B], as far as they have a weight."""
        return self.task.objective.terms(weights, self.cfg.temperature, student, teacher, sample)

    def observe(self, name: str, each: Tensor) -> None:
        """Logs, beside the terms, the mean over sentences of what says how the method fares; each [B]."""
        self.observed[name] = each.detach()

    def labels_for(self) -> list[str]:
        """The flags of active terms that learn from labels."""
        return list(dict.fromkeys(stage.flags["hard"] for stage in self.stages.all if stage.weights["hard"]))

    def logged(self) -> set[str]:
        """Names of what every validation logs, any of which can choose the best checkpoint."""
        return set.intersection(*(self._logged(stage) for stage in self.stages.all))

    def _logged(self, stage: Stage) -> set[str]:
        terms = stage.active().keys() - {"inter"}
        parts = {name for name, part in self.named_children() if part is not None and stage.weights["inter"]}
        return {"loss"} | terms | parts | self.task.objective.metrics(stage.active())

    def find_unreached(self, student: nn.Module) -> None:
        """Notes, before training, which parameters each stage leaves alone; needs `freeze_unreached` of all."""
        own = (each for each in self.parameters() if each is not self.anchor and each.requires_grad)
        self.stages.find_unreached(student, self.head, own)

    def forward(self, model, sample: Mapping[str, Any], reduce: bool = True):
        """The batch's loss, its sample size, and what to log.

        model   answers model(**net_input, wanted, classification_head_name) with Signals
        sample  a collated batch
        reduce  False returns the loss of each sentence, [B]
        """
        stage = self.stages.now
        student = self.student_signals(model, sample, stage.student_wanted)
        teacher = self.task.teacher.signals(sample, stage.teacher_wanted) if stage.teacher_wanted else None

        objective, weights = self.task.objective, stage.active()
        self.observed = {}
        terms = self.objective_terms(weights, student, teacher, sample)
        weighted = {name: (weights[name], term) for name, term in terms.items()}
        if "inter" in weights:
            own = self.terms_of(sample, student, teacher)
            weight = weights["inter"] * objective.scale(weights)
            weighted |= {name: (weight, term) for name, term in own.items()}

        each = sum(weight * term for weight, term in weighted.values()) + 0.0 * self.anchor.float()  # [B]
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
        logging_output |= {f"term_{name}": seen.sum() for name, seen in self.observed.items()}
        logging_output |= objective.statistics(student, sample, self.training)
        return each.sum() if reduce else each, logging_output["sample_size"], logging_output

    @staticmethod
    def reduce_metrics(logging_outputs: list[dict[str, Any]]) -> None:
        """Logs the loss, every term by name, and the metrics of the labels."""
        log_metrics(logging_outputs)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True
