"""Weights of the loss terms; with `--two-stage`, they change once, at a share of the time budget."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Optional

import torch.distributed as dist
from torch import nn
from torch.nn import Parameter

from ..errors import CannotStart
from ..signals import Wanted
from .config import DistillationConfig

# The weighted terms: labels or masked words, the teacher's logits, the method's own terms.
NAMES = ("hard", "soft", "inter")

# Default of --first-weights.
FIRST_WEIGHTS = (1.0, 0.0, 0.0)


@dataclass
class Stage:
    """One part of training with constant weights.

    weights         weight of each term
    flags           flag of each weight
    student_wanted  signals of the student that these weights need
    teacher_wanted  signals of the teacher that these weights need
    unreached       parameters with a gradient in the other stage only; weight decay must not change them now
    """

    weights: dict[str, float]
    flags: dict[str, str]
    student_wanted: Wanted = Wanted()
    teacher_wanted: Wanted = Wanted()
    unreached: list[Parameter] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.student_wanted |= Wanted(logits=bool(self.weights["hard"] or self.weights["soft"]))
        self.teacher_wanted |= Wanted(logits=bool(self.weights["soft"]))

    def active(self) -> dict[str, float]:
        """Return the weights that are not zero, by name."""
        return {name: weight for name, weight in self.weights.items() if weight}

    def __str__(self) -> str:
        return " + ".join(f"{weight:g} {name}" for name, weight in self.active().items())

    def weight_errors(self) -> Iterable[str]:
        """Yield an error message for each invalid weight, or if all weights are 0."""
        for name, weight in self.weights.items():
            if not 0 <= weight < math.inf:
                yield f"{self.flags[name]} {weight} is out of range: give 0 or more."
        if not self.active():
            flags = " and ".join(dict.fromkeys(self.flags.values()))
            yield f"{flags} are all 0, so there is no loss: give one weight above 0."


class Stages:
    """One stage, or two; the second starts at a share of the time budget.

    weights    of the second stage, or of the only one
    cfg        config of the criterion
    own_terms  whether the method has terms of its own
    """

    def __init__(self, weights: Mapping[str, float], cfg: DistillationConfig, own_terms: bool) -> None:
        self.all = [Stage(dict(weights), {name: f"--{name}-weight" for name in NAMES})]
        self.switch = cfg.two_stage
        self.errors: list[str] = []
        if self.switch is not None:
            first = list(cfg.first_weights or FIRST_WEIGHTS)
            self.errors += _two_stage_errors(cfg, first, own_terms)
            # Missing weights are 0; `_two_stage_errors` reports them.
            first_weights = dict(zip(NAMES, [*first, 0.0, 0.0, 0.0], strict=False))
            self.all.insert(0, Stage(first_weights, dict.fromkeys(NAMES, "--first-weights")))
        elif cfg.first_weights:
            self.errors.append(
                f"--first-weights {_format(cfg.first_weights)} has no effect without a first stage: give --two-stage SHARE, "
                "or remove the flag."
            )
        self.errors += [error for stage in self.all for error in stage.weight_errors()]
        self.current = self.all[0]
        self._has_time_budget = False

    @property
    def student_wanted(self) -> Wanted:
        """Signals of the student that any stage needs."""
        return reduce(or_, (stage.student_wanted for stage in self.all))

    @property
    def teacher_wanted(self) -> Wanted:
        """Signals of the teacher that any stage needs."""
        return reduce(or_, (stage.teacher_wanted for stage in self.all))

    @property
    def inter_weight(self) -> float:
        """Weight of the method's own terms: the largest of all stages."""
        return max(stage.weights["inter"] for stage in self.all)

    def want_for_own_terms(self, student: Wanted, teacher: Wanted) -> None:
        """Request signals in each stage in which the method's own terms have a weight."""
        for stage in self.all:
            if stage.weights["inter"]:
                stage.student_wanted |= student
                stage.teacher_wanted |= teacher

    def find_unreached(self, student: nn.Module, head: Optional[str], own: Iterable[Parameter]) -> None:
        """Find the parameters that each stage does not train.

        student  parameters that no stage trains are already frozen
        head     classification head of its logits
        own      all trained parameters of the criterion
        """
        if self.switch is None:
            return
        named, own = dict(student.named_parameters()), list(own)
        for stage in self.all:
            names = student.freeze_unreached(stage.student_wanted, head)
            stage.unreached = [named[name].requires_grad_(True) for name in names]
            stage.unreached += [] if stage.weights["inter"] else own

    def at_share(self, share: Optional[float]) -> bool:
        """Set the current stage; return whether it has changed. Called before training and after each update.

        share  used share of the time budget; None without a time budget
        """
        if self.switch is None or share is None:
            return False
        before, self.current = self.current, self.all[1 if share >= self.switch else 0]
        if self.current is not before or not self._has_time_budget:
            _set_trained(before.unreached, True)
            _set_trained(self.current.unreached, False)
        self._has_time_budget = True
        return self.current is not before

    def check_time_budget(self) -> None:
        """Raise CannotStart if there are two stages, but no scheduler calls `at_share`."""
        if self.switch is not None and not self._has_time_budget:
            raise CannotStart(
                f"--two-stage {self.switch:g} is a share of the time budget, but there is none: give --lr-scheduler "
                "time_budget --total-training-time HOURS."
            )

    def __str__(self) -> str:
        if self.switch is None:
            return str(self.all[0])
        first, second = self.all
        return f"{first} in the first {self.switch:g} of the time budget, then {second}"


def _set_trained(parameters: Iterable[Parameter], trained: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(trained)


def _format(weights: Iterable[float]) -> str:
    return ",".join(f"{weight:g}" for weight in weights)


def _two_stage_errors(cfg: DistillationConfig, first: list[float], own_terms: bool) -> Iterable[str]:
    given, weights = f"--two-stage {cfg.two_stage:g}", f"--first-weights {_format(first)}"
    if not 0 < cfg.two_stage < 1:
        yield f"{given} is out of range: give a share of the time budget between 0 and 1."
    if len(first) != len(NAMES):
        yield f"{weights} must be three numbers: give HARD,SOFT,INTER."
    elif first[2] and not own_terms:
        yield f"{weights} has a third weight, but --criterion {cfg._name} has no terms of its own: give 0."
    if cfg.fp16 and not (cfg.fp16_no_flatten_grads or cfg.memory_efficient_fp16):
        # fairseq omits weights without a gradient from the flat gradient, but not from the flat weights.
        yield (
            f"{given} does not train all parameters in each stage. --fp16 joins all parameters in one vector, so gradients "
            "would be applied to the wrong ones: add --fp16-no-flatten-grads, or --memory-efficient-fp16."
        )
    # --distributed-world-size does not yet have torchrun's value here.
    workers = dist.get_world_size() if dist.is_initialized() else 1
    if workers > 1 and cfg.ddp_backend in ("c10d", "pytorch_ddp") and not cfg.find_unused_parameters:
        yield (
            f"{given} does not train all parameters in each stage, which is an error with --ddp-backend "
            f"{cfg.ddp_backend}: add --find-unused-parameters, or use --ddp-backend legacy_ddp."
        )
