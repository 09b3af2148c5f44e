"""`--criterion sda`: a student that learns from an average of its own earlier parameters."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from fairseq.criterions import register_criterion
from fairseq.dataclass import ChoiceEnum
from fairseq.optim import FairseqOptimizer
from omegaconf import II
from torch import Tensor, nn

from ..flags import flag
from ..losses import logits_mse
from ..optim import in_full_precision
from ..signals import Signals, Wanted
from ..teachers.averaged import ALL, DECAY, FORMS, AveragedTeacher
from .config import OwnTermsConfig
from .distillation import DistillationCriterion


@dataclass
class SDAConfig(OwnTermsConfig):
    hard_weight: Optional[float] = flag(
        1.0, "weight of the loss against the labels; 0 omits it (default: 1.0)"
    )
    soft_weight: Optional[float] = flag(
        0.0,
        "weight of the loss against the logits of a --teacher, in addition to the student's average; 0 omits it "
        "(default: 0.0)",
    )
    inter_weight: float = flag(
        1.0,
        "lambda of the paper, which tries 0.5 to 1.5: weight of the squared distance to the logits of the "
        "student's average; 0 omits it (default: 1.0)",
    )
    sda_form: ChoiceEnum(FORMS) = flag(
        "average",
        "average: one model with the mean of the last --sda-window parameter sets; voted: the mean of the "
        "logits of these models; ema: one model with an exponential average of all parameters (default: average)",
    )
    sda_window: Optional[str] = flag(
        None,
        "number of earlier parameter sets, 1 or more; each needs 4 bytes per parameter in memory and in every "
        "checkpoint; or all (or 0), the mean of all, which needs one set (default: 1; no effect with ema)",
    )
    sda_decay: Optional[float] = flag(
        None,
        "with --sda-form ema, share of the old average that an update keeps, 0 to 1; smaller in the first "
        f"updates (default: {DECAY})",
    )
    sda_host: bool = flag(False, "store the parameter sets in host memory (default: on the student's device)")
    sda_evaluate: ChoiceEnum(["student", "average"]) = flag(
        "student",
        "the model that is validated and that other commands read from the run's checkpoints: the student, or the "
        "average; average with --inter-weight 0 --sda-window all is SE of the paper (default: student)",
    )
    amp: bool = II("common.amp")


@register_criterion("sda", dataclass=SDAConfig)
class SDA(DistillationCriterion):
    """Self-distillation (Xu et al., Improving BERT Fine-Tuning via Self-Ensemble and Self-Distillation, 2020).

        loss = hard + inter * logits_mse(student, average of the student's earlier parameters)

    The average does not include the current parameters. Before the first update there is no average, and the term is 0.
    Needs no --teacher. If validations evaluate the average, they do not compute the term.
    """

    needs_teacher = False
    resume_critical_fields = ("sda_form", "sda_evaluate")

    def __init__(self, cfg: SDAConfig, task: Any) -> None:
        super().__init__(cfg, task)
        self.evaluates_average = cfg.sda_evaluate == "average"
        self.sda: AveragedTeacher | None = None
        if not (self.inter_weight or self.evaluates_average):
            return
        window = _window(cfg)
        self.errors += _flag_errors(cfg, has_classes=self.context.head is not None)
        try:
            host = cfg.sda_host and window != ALL
            self.sda = AveragedTeacher(window, str(cfg.sda_form), _decay(cfg), host)
        except ValueError as error:
            self.errors.append(f"--sda-{error}")
            return
        self.sda.set_student(self.context.student, self.context.head)
        self.stages.want_for_own_terms(Wanted(logits=True), Wanted())

    def flags_of_terms(self, cfg: SDAConfig) -> list[str]:
        return [] if cfg.sda_evaluate == "average" else super().flags_of_terms(cfg)

    @classmethod
    def resume_critical(cls, cfg: Mapping[str, Any]) -> dict[str, Any]:
        """Return the flags of the base class, and window and decay in a normal form."""
        return super().resume_critical(cfg) | {"--sda-window": _window(cfg), "--sda-decay": _decay(cfg)}

    def before_update(self, optimizer: FairseqOptimizer) -> None:
        """Add the student's parameters, in full precision, to the average."""
        if self.sda is not None:
            parameters = dict(self.context.student.named_parameters())
            self.sda.push(in_full_precision(parameters, optimizer))

    def student_signals(self, model: nn.Module, sample: Mapping[str, Any], wanted: Wanted) -> Signals:
        if not self.training and self.evaluates_average and self.sda.pushed:
            with self.context.autocast(sample):
                return self.sda.signals(sample, wanted)
        return super().student_signals(model, sample, wanted)

    def metric_names(self) -> set[str]:
        return super().metric_names() - ({"sda"} if self.evaluates_average else set())

    def batch_terms(self, sample: Mapping[str, Any], student: Signals, teacher: Signals) -> dict[str, Tensor]:
        if not self.training and self.evaluates_average:
            return {}
        if not self.sda.pushed:
            return {"sda": logits_mse(student.logits, student.logits.detach())}
        with self.context.autocast(sample):
            averaged = self.sda.signals(sample, Wanted(logits=True))
        return {"sda": logits_mse(student.logits, averaged.logits)}


def _window(cfg: Mapping[str, Any]) -> int | str:
    """Return the number of parameter sets, or ALL; invalid text unchanged."""
    given = cfg.get("sda_window")
    if given == ALL or str(cfg.get("sda_form")) == "ema":
        return ALL
    if given is None:
        return 1
    return (int(given) or ALL) if given.isdecimal() else given


def _decay(cfg: Mapping[str, Any]) -> float:
    given = cfg.get("sda_decay")
    return DECAY if given is None else given


def _flag_errors(cfg: SDAConfig, has_classes: bool) -> Iterable[str]:
    """Yield error messages for settings that AveragedTeacher does not check."""
    if not has_classes:
        yield (
            "--criterion sda compares class logits of sentences, but --task masked_lm_kd has none: use --task "
            "sentence_prediction_kd, or --criterion kd."
        )
    if cfg.amp:
        yield (
            "--amp makes an update even if a gradient overflowed, which --criterion sda cannot detect: use --autocast "
            "bf16, --bf16, or --fp16 --fp16-no-flatten-grads."
        )
    if cfg.sda_evaluate == "average" and cfg.sda_form == "voted":
        yield "--sda-evaluate average evaluates one model, but --sda-form voted has several: use --sda-form average."
    elif cfg.sda_evaluate == "average" and _window(cfg) == 1:
        yield (
            "--sda-evaluate average needs several parameter sets, but a window of 1 has only that of one update ago: give "
            "--sda-window 2 or more, or all."
        )
