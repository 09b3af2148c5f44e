"""Base class of all criterions: requests signals, and computes and logs the loss of a batch."""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, ClassVar

import torch
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, FairseqCriterion
from fairseq.optim import FairseqOptimizer
from torch import Tensor, nn

from ..context import DistillationContext
from ..flags import flag_name, given_flags, unused
from ..metrics import log_metrics
from ..signals import Signals, Wanted
from .config import DistillationConfig, IntermediateConfig
from .stages import Stage, Stages
from .transfer.hidden import MIXTURES

SHARED = frozenset(each.name for each in fields(IntermediateConfig))


class DistillationCriterion(FairseqCriterion):
    """Loss of a sentence: hard * label term + soft * logits term + inter * sum of the method's terms.

    The objective of the task computes the first two. For masked words, they are sums over those of a sentence.

    A method adds transfer modules in its constructor (`use`). Its `terms` returns one number per sentence for each term.
    The loss is the sum over the batch, and the sample size is the number of sentences. So the result does not depend on
    padding, batching, accumulation or the number of workers.

    Of the task, a criterion only uses the `DistillationContext`. Of a criterion, the task only uses these members:

    errors           error messages; if there are any, training does not start
    unused           flags without effect, for a warning
    stages           the stages of training, with the weights of their terms
    student_wanted   signals of the student that any stage of training needs
    teacher_wanted   signals of the teacher that any stage needs; empty if it needs no teacher
    metric_names     names of the values that every validation logs
    label_flags      flags of the terms that learn from labels
    resume_critical  flags that a resumed run cannot change
    describe         lines for the summary
    start            called before training, after untrained parameters are frozen
    begin_epoch      called before each epoch
    before_update    called before each update of the weights
    """

    # Whether it has terms of its own, in addition to those of labels and logits.
    own_terms: ClassVar[bool] = True

    # Whether its own terms compare the student with a teacher. If not, --soft-weight is 0 by default.
    needs_teacher: ClassVar[bool] = True

    # Whether a first stage can train its own terms alone, before the logits. Needs own terms and a teacher.
    first_stage: ClassVar[bool] = True

    # Whether --mapping combine, a learned mixture of all hidden states, is allowed.
    mixes_states: ClassVar[bool] = False

    # Fields of its config, in addition to the mapping, that decide what it learns or stores.
    resume_critical_fields: ClassVar[tuple[str, ...]] = ()

    # Fields of its own config that have an effect even if its terms have weight 0.
    always_used_fields: ClassVar[tuple[str, ...]] = ()

    # Why its terms need classes, continuing a sentence after its name; empty if regression is possible.
    needs_classes: ClassVar[str] = ""

    def __init__(self, cfg: DistillationConfig, task: Any) -> None:
        """Set up weights and errors. task: any object with the `context` of the run."""
        super().__init__(task)
        self.cfg = cfg
        self.context: DistillationContext = task.context
        self.stages = Stages(self._weights(cfg), cfg, self.own_terms)
        self.errors = list(self.stages.errors)
        self.unused: list[str] = []
        if self.own_terms and not self.inter_weight:
            self.unused += unused(self.flags_of_terms(cfg), "--inter-weight 0")
        # fairseq only saves a criterion that has a parameter; its legacy_ddp cannot reduce 0-dimensional ones.
        self.anchor = nn.Parameter(torch.zeros(1))
        self.observed: dict[str, Tensor] = {}

        if not 0 < cfg.temperature < math.inf:
            self.errors.append(f"--temperature {cfg.temperature} is out of range: give a number above 0.")
        if self.teacher_wanted.logits and self.context.logits_error is not None:
            self.errors.append(self.context.logits_error)

    def _weights(self, cfg: DistillationConfig) -> dict[str, float]:
        objective = self.context.objective
        soft = objective.soft_weight(self.own_terms) if self.needs_teacher else 0.0
        return {
            "hard": objective.hard_weight if cfg.hard_weight is None else cfg.hard_weight,
            "soft": soft if cfg.soft_weight is None else cfg.soft_weight,
            "inter": cfg.inter_weight if self.own_terms else 0.0,
        }

    @property
    def student_wanted(self) -> Wanted:
        return self.stages.student_wanted

    @property
    def teacher_wanted(self) -> Wanted:
        return self.stages.teacher_wanted

    @property
    def inter_weight(self) -> float:
        """Weight of the method's own terms: the largest of all stages."""
        return self.stages.inter_weight

    def use(self, build: Callable[..., nn.Module], *args: Any, **options: Any) -> nn.Module | None:
        """Build a transfer module and request its signals; None if --inter-weight is 0, or after an error.

        build(context, name of the method, *args, **options) returns a module with the attributes of `Transfer`.
        """
        if not self.inter_weight:
            return None
        if conflicts := self._conflicts():
            self.errors += [conflict for conflict in conflicts if conflict not in self.errors]
            return None

        part = build(self.context, self.cfg._name, *args, **options)
        self.errors += part.errors
        self.stages.want_for_own_terms(part.student_wanted, part.teacher_wanted)
        return part

    def _conflicts(self) -> list[str]:
        """Return an error message for each class attribute that conflicts with the data or the mapping."""
        method, mapping = f"--criterion {self.cfg._name}", getattr(self.cfg, "mapping", None)
        conflicts = []
        if self.needs_classes and self.context.objective.regression:
            conflicts.append(
                f"{method} {self.needs_classes}, but the labels of {self.context.data} are numbers "
                "(regression): use another method, such as hidden_mse_token."
            )
        if mapping in MIXTURES and not self.mixes_states:
            conflicts.append(
                f"--mapping {mapping} mixes all hidden states, but {method} compares pairs of layers: "
                "use skip, last or pairs of layers."
            )
        return conflicts

    def flags_of_terms(self, cfg: DistillationConfig) -> list[str]:
        """Return the given flags that only the method's own terms use.

        Excludes --mapping, which a grid gives to all of its methods.
        """
        return given_flags(
            cfg, CRITERION_DATACLASS_REGISTRY[cfg._name], SHARED | set(self.always_used_fields)
        )

    @classmethod
    def resume_critical(cls, cfg: Mapping[str, Any]) -> dict[str, Any]:
        """Return the flags, with their values, that a resumed run cannot change: they decide what is learned or stored.

        cfg  config of the criterion, now or in a checkpoint, which may be older than some flags
        """
        flags = {"--mapping": cfg.get("mapping")}
        if cfg.get("two_stage") is None:
            flags["--inter-weight"] = "0" if cfg.get("inter_weight") == 0 else "above 0"
        own = {name: str(cfg.get(name)) for name in cls.resume_critical_fields if name in cfg}
        return flags | {flag_name(name): value for name, value in own.items()}

    def start(self, student: nn.Module) -> None:
        """Prepare for training: find the parameters that each stage does not train.

        student  its parameters that no stage trains are already frozen (`freeze_unreached`)
        """
        own = (each for each in self.parameters() if each is not self.anchor and each.requires_grad)
        self.stages.find_unreached(student, self.context.head, own)

    def begin_epoch(self) -> None:
        """Raise CannotStart if there are two stages, but no time budget."""
        self.stages.check_time_budget()

    def before_update(self, optimizer: FairseqOptimizer) -> None:
        """Prepare an update of the weights; not called for skipped updates."""

    def student_signals(self, model: nn.Module, sample: Mapping[str, Any], wanted: Wanted) -> Signals:
        """Return the student's signals for a batch, in its precision."""
        with self.context.autocast(sample):
            return model(**sample["net_input"], wanted=wanted, classification_head_name=self.context.head)

    def terms(self, student: Signals, teacher: Signals) -> Mapping[str, Tensor]:
        """Return the method's own terms by name, each [B], without their weight."""
        return {}

    def batch_terms(
        self, sample: Mapping[str, Any], student: Signals, teacher: Signals
    ) -> Mapping[str, Tensor]:
        """Return the same as `terms`. Methods that need more of the batch than its signals override this method."""
        return self.terms(student, teacher)

    def objective_terms(
        self,
        weights: Mapping[str, float],
        student: Signals,
        teacher: Signals | None,
        sample: Mapping[str, Any],
    ) -> dict[str, Tensor]:
        """Return the terms of the objective, `hard` and `soft`, that have a weight, each [B]."""
        return self.context.objective.terms(weights, self.cfg.temperature, student, teacher, sample)

    def observe(self, name: str, each: Tensor) -> None:
        """Log the mean of a statistic, next to the terms. each: its value for each sentence, [B]"""
        self.observed[name] = each.detach()

    def label_flags(self) -> list[str]:
        """Return the flags of active terms that learn from labels."""
        return list(dict.fromkeys(stage.flags["hard"] for stage in self.stages.all if stage.weights["hard"]))

    def metric_names(self) -> set[str]:
        """Return the names of the values that every validation logs: the possible --best-checkpoint-metric."""
        return set.intersection(*(self._metric_names(stage) for stage in self.stages.all))

    def _metric_names(self, stage: Stage) -> set[str]:
        terms = stage.active().keys() - {"inter"}
        parts = {name for name, part in self.named_children() if part is not None and stage.weights["inter"]}
        return {"loss"} | terms | parts | self.context.objective.metrics(stage.active())

    def describe(self) -> list[str]:
        """Return lines for the summary: the loss, the map of each transfer module, the number of learned parameters."""
        lines = [f"loss      {self.stages}"]
        for name, part in self.named_children():
            if hasattr(part, "describe"):
                lines.append(f"map       {name}: {part.describe()}")
        learned = sum(p.numel() for p in self.parameters() if p.requires_grad) - self.anchor.numel()
        return lines + ([f"learned   {learned:,} parameters of the criterion"] if learned else [])

    def forward(
        self, model: nn.Module, sample: Mapping[str, Any], reduce: bool = True
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """Return the loss of a batch, its sample size, and the values to log.

        model   model(**net_input, wanted, classification_head_name) returns Signals
        sample  a collated batch
        reduce  False returns the loss of each sentence, [B]
        """
        stage, context = self.stages.current, self.context
        student = self.student_signals(model, sample, stage.student_wanted)
        teacher = context.teacher.signals(sample, stage.teacher_wanted) if stage.teacher_wanted else None

        objective, weights = context.objective, stage.active()
        self.observed = {}
        terms = self.objective_terms(weights, student, teacher, sample)
        weighted = {name: (weights[name], term) for name, term in terms.items()}
        if "inter" in weights:
            own = self.batch_terms(sample, student, teacher)
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
        """Log the loss, every term by name, and the metrics of the labels."""
        log_metrics(logging_outputs)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True
