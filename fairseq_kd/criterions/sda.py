"""`--criterion sda`: a student that learns from its own past."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from fairseq.criterions import register_criterion
from fairseq.dataclass import ChoiceEnum
from fairseq.optim import FairseqOptimizer
from omegaconf import II
from torch import Tensor

from ..losses import logits_mse
from ..optim import in_full_precision
from ..signals import Signals, Wanted
from ..teachers import AveragedTeacher
from .config import OwnTermsConfig
from .distillation import DistillationCriterion


@dataclass
class SDAConfig(OwnTermsConfig):
    hard_weight: Optional[float] = field(
        default=1.0,
        metadata={"help": "weight of the loss against the labels; 0 leaves it out (default: 1.0)"},
    )
    soft_weight: Optional[float] = field(
        default=0.0,
        metadata={
            "help": "weight of the loss against the logits of another teacher beside the student's own past, a --teacher "
            "then; 0 leaves it out (default: 0.0)"
        },
    )
    inter_weight: float = field(
        default=1.0,
        metadata={
            "help": "lambda of the paper, which tries 0.5 to 1.5: weight of the squared distance to the logits of the "
            "student's own past; 0 leaves it out (default: 1.0)"
        },
    )
    sda_form: ChoiceEnum(["average", "voted", "ema"]) = field(
        default="average",
        metadata={
            "help": "the past answers as one model of averaged parameters; as the averaged logits of as many models as "
            "--sda-window says (voted); or as an exponential average of all parameters (ema) (default: average)"
        },
    )
    sda_window: Optional[str] = field(
        default=None,
        metadata={
            "help": "how many updates back the past reaches, 1 or more, each of which takes memory, and room in every "
            "checkpoint, for the student's parameters at 4 bytes; or all (0 means the same), which takes that of one "
            "(default: 1 update; ema has none)"
        },
    )
    sda_decay: Optional[float] = field(
        default=None,
        metadata={
            "help": "with --sda-form ema, share of the average that stays at an update, 0 to 1; smaller in the first "
            "updates (default: 0.995)"
        },
    )
    sda_host: bool = field(
        default=False,
        metadata={"help": "keep the window in host memory (default: beside the student)"},
    )
    sda_evaluate: ChoiceEnum(["student", "average"]) = field(
        default="student",
        metadata={
            "help": "whose answers validations judge, and whose weights are taken from the run's checkpoints: the "
            "student's, or the average's; with --inter-weight 0 --sda-window all that is SE of the paper (default: "
            "student)"
        },
    )
    amp: bool = II("common.amp")


@register_criterion("sda", dataclass=SDAConfig)
class SDA(DistillationCriterion):
    """Self-distillation (Xu et al., Improving BERT Fine-Tuning via Self-Ensemble and Self-Distillation, 2020).

        loss = hard + inter * logits_mse(student, its own past)

    The past is that of before the update: the student's own parameters of now are not in it. Before
    the first update there is none, and the term is 0. Needs no --teacher.
    """

    def __init__(self, cfg: SDAConfig, task) -> None:
        super().__init__(cfg, task)
        self.sda = None
        self.judges_average = cfg.sda_evaluate == "average"
        self.problems += _problems(cfg, task)
        if self.problems or not (self.inter_weight or self.judges_average):
            return

        window = _window(cfg)
        window = window if window == "all" else int(window)
        self.sda = AveragedTeacher(window, str(cfg.sda_form), _decay(cfg), cfg.sda_host)
        self.sda.follow(task.student, self.head)
        self.stages.want_for_own_terms(Wanted(logits=True), Wanted())

    @classmethod
    def settled(cls, cfg: Mapping[str, Any]) -> dict[str, Any]:
        own = {"--sda-form": str(cfg.get("sda_form")), "--sda-window": _window(cfg)}
        return super().settled(cfg) | own

    def before_update(self, optimizer: FairseqOptimizer) -> None:
        if self.sda is None:
            return
        self.sda.push(in_full_precision(dict(self.task.student.named_parameters()), optimizer))

    def student_signals(self, model, sample: Mapping[str, Any], wanted: Wanted) -> Signals:
        if not self.training and self.judges_average and self.sda.pushed:
            with self.task.autocast(sample):
                return self.sda.signals(sample, wanted)
        return super().student_signals(model, sample, wanted)

    def terms_of(self, sample: Mapping[str, Any], student: Signals, teacher: Signals) -> dict[str, Tensor]:
        if not self.sda.pushed:
            return {"sda": logits_mse(student.logits, student.logits.detach())}
        with self.task.autocast(sample):
            past = self.sda.signals(sample, Wanted(logits=True))
        return {"sda": logits_mse(student.logits, past.logits)}


def _window(cfg: Mapping[str, Any]) -> str:
    """As --sda-window says it: a number, or all."""
    if str(cfg.get("sda_form")) == "ema" or cfg.get("sda_window") in ("all", "0"):
        return "all"
    return cfg.get("sda_window") or "1"


def _decay(cfg: SDAConfig) -> float:
    return 0.995 if cfg.sda_decay is None else cfg.sda_decay


def _problems(cfg: SDAConfig, task) -> Iterable[str]:
    if task.predicts_words:
        yield (
            "--criterion sda compares the scores of a sentence's classes, and --task masked_lm_kd has none: take --task "
            "sentence_prediction_kd, or --criterion kd."
        )
    if cfg.amp:
        yield (
            "--amp calls for an update even where a gradient overflowed, which --criterion sda cannot tell: take "
            "--autocast bf16, --bf16, or --fp16 --fp16-no-flatten-grads."
        )
    if cfg.sda_form == "ema":
        if cfg.sda_host:
            yield "--sda-host keeps a window in host memory, and --sda-form ema has none: leave one of the two out."
        if cfg.sda_window is not None:
            yield (
                f"--sda-window {cfg.sda_window} is of no use to --sda-form ema, whose past reaches back to the start: "
                "leave one of the two out."
            )
        if not 0 <= _decay(cfg) <= 1:
            yield f"--sda-decay {cfg.sda_decay} is no share: give a number from 0 to 1."
    else:
        yield from _problems_of_window(cfg)
    if cfg.sda_evaluate == "average" and cfg.sda_form == "voted":
        yield "--sda-evaluate average judges one model, and --sda-form voted has several: take --sda-form average."
    elif cfg.sda_evaluate == "average" and cfg.sda_form == "average" and cfg.sda_window in (None, "1"):
        yield (
            "--sda-evaluate average would judge the student of one update ago, which is all that a window of 1 holds: give "
            "--sda-window 2 or more, or all."
        )


def _problems_of_window(cfg: SDAConfig) -> Iterable[str]:
    given = "1" if cfg.sda_window is None else cfg.sda_window
    if cfg.sda_decay is not None:
        yield f"--sda-decay {cfg.sda_decay} is of no use to --sda-form {cfg.sda_form}: leave it out, or take ema."
    if given != "all" and not given.isdecimal():
        yield f"--sda-window {given} is no number of updates: give 1 or more, or all."
    elif cfg.sda_form == "voted" and given in ("all", "0"):
        yield f"--sda-form voted runs each model of its window, and --sda-window {given} has no end: give a number."
    elif cfg.sda_host and given in ("all", "0"):
        yield f"--sda-host keeps a window in host memory, and --sda-window {given} is one average: leave one out."
