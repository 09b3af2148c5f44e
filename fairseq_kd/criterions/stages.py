"""Weights that change once, at a share of a time budget (`--two-stage`)."""

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

# What is weighed: the labels or masked words, the teacher's logits, the method's own terms.
NAMES = ("hard", "soft", "inter")

# Of the first stage, where --first-weights says nothing.
FIRST_WEIGHTS = (1.0, 0.0, 0.0)


@dataclass
class Stage:
    """What is learned from in one part of training.

    weights         by name
    flags           how the command gives each
    student_wanted  the signals of each side that they need
    teacher_wanted
    unreached       trained parameters without a gradient here, which no weight decay may touch either
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
        """The weights that are not zero, by name."""
        return {name: weight for name, weight in self.weights.items() if weight}

    def __str__(self) -> str:
        return " + ".join(f"{weight:g} {name}" for name, weight in self.active().items())

    def problems(self) -> Iterable[str]:
        """Why nothing can be learned with these weights."""
        for name, weight in self.weights.items():
            if not 0 <= weight < math.inf:
                why = "would reward what it measures" if weight < 0 else "is no weight"
                yield f"{self.flags[name]} {weight} {why}: give 0 or more."
        if not self.active():
            *others, last = dict.fromkeys(self.flags.values())
            names = f"{', '.join(others)} and {last}" if others else last
            yield f"{names} are all 0, which leaves no loss: raise one."


class Stages:
    """One stage, or two of which the second begins when a share of the time budget is used."""

    def __init__(self, usual: Mapping[str, float], cfg, own_terms: bool) -> None:
        """usual: the weights of the only or second stage, by name."""
        self.all = [Stage(dict(usual), {name: f"--{name}-weight" for name in NAMES})]
        self.switch = cfg.two_stage
        self.problems: list[str] = []
        if self.switch is not None:
            first = list(cfg.first_weights or FIRST_WEIGHTS)
            self.problems += _two_stage_problems(cfg, first, own_terms)
            weights = dict(zip(NAMES, [*first, 0.0, 0.0, 0.0], strict=False))
            self.all.insert(0, Stage(weights, dict.fromkeys(NAMES, "--first-weights")))
        elif cfg.first_weights:
            self.problems.append(
                f"--first-weights {_written(cfg.first_weights)} are those of a first stage and there is none: give "
                "--two-stage SHARE, or leave them out."
            )
        self.problems += [problem for stage in self.all for problem in stage.problems()]
        self.now = self.all[0]
        self._followed = False

    @property
    def student_wanted(self) -> Wanted:
        """The student's signals that any stage needs."""
        return reduce(or_, (stage.student_wanted for stage in self.all))

    @property
    def teacher_wanted(self) -> Wanted:
        """The teacher's."""
        return reduce(or_, (stage.teacher_wanted for stage in self.all))

    @property
    def inter_weight(self) -> float:
        """The weight of the method's own terms, the largest of all stages."""
        return max(stage.weights["inter"] for stage in self.all)

    def want_for_own_terms(self, student: Wanted, teacher: Wanted) -> None:
        """Asks for what the method's own terms need, where they have a weight."""
        for stage in self.all:
            if stage.weights["inter"]:
                stage.student_wanted |= student
                stage.teacher_wanted |= teacher

    def find_unreached(self, student: nn.Module, head: Optional[str], own: Iterable[Parameter]) -> None:
        """Notes which parameters each stage leaves alone; none of the student's may be unreached by all.

        own  what the method learns beside the student: all of it is trained
        """
        if self.switch is None:
            return
        named, own = dict(student.named_parameters()), list(own)
        for stage in self.all:
            names = student.freeze_unreached(stage.student_wanted, head)
            stage.unreached = [named[name].requires_grad_(True) for name in names]
            stage.unreached += [] if stage.weights["inter"] else own

    def at_share(self, share: Optional[float]) -> bool:
        """Told before training, and after each update, which share of the time budget is used; None without one.

        Returns whether another stage began.
        """
        if self.switch is None or share is None:
            return False
        before, self.now = self.now, self.all[share >= self.switch]
        if self.now is not before or not self._followed:
            _set_trained(before.unreached, True)
            _set_trained(self.now.unreached, False)
        self._followed = True
        return self.now is not before

    def check_followed(self) -> None:
        """Raises CannotStart where nobody says which share of the time budget is used."""
        if self.switch is not None and not self._followed:
            raise CannotStart(
                f"--two-stage {self.switch:g} is a share of a time budget and none was given: give --lr-scheduler "
                "time_budget --total-training-time HOURS."
            )

    def __str__(self) -> str:
        *first, usual = map(str, self.all)
        return (
            "".join(f"{one} in the first {self.switch:g} of the time budget, then " for one in first) + usual
        )


def _set_trained(parameters: Iterable[Parameter], trained: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(trained)


def _written(weights: Iterable[float]) -> str:
    return ",".join(f"{weight:g}" for weight in weights)


def _two_stage_problems(cfg, first: list[float], own_terms: bool) -> Iterable[str]:
    given = _written(first)
    if not 0 < cfg.two_stage < 1:
        yield f"--two-stage {cfg.two_stage:g} is no share of the time budget: give a number between 0 and 1."
    if len(first) != len(NAMES):
        yield f"--first-weights {given} are not three numbers: give HARD,SOFT,INTER."
    elif first[2] and not own_terms:
        yield (
            f"--first-weights {given} weigh a method's own terms, and --criterion {cfg._name} has none: let the last "
            "be 0."
        )
    if cfg.fp16 and not (cfg.fp16_no_flatten_grads or cfg.memory_efficient_fp16):
        # fairseq leaves weights without a gradient out of the one vector's gradient, but not out of the vector.
        yield (
            f"--two-stage {cfg.two_stage:g} trains not all parameters in each stage, and --fp16 joins them all into one "
            "vector, in which the gradients would meet other weights: add --fp16-no-flatten-grads, or "
            "--memory-efficient-fp16."
        )
    # Not fairseq's --distributed-world-size, which is the flag's until torchrun's has been read.
    workers = dist.get_world_size() if dist.is_initialized() else 1
    if workers > 1 and cfg.ddp_backend in ("c10d", "pytorch_ddp") and not cfg.find_unused_parameters:
        yield (
            f"--two-stage {cfg.two_stage:g} trains not all parameters in each stage, which --ddp-backend "
            f"{cfg.ddp_backend} takes for an error: add --find-unused-parameters, or give --ddp-backend legacy_ddp."
        )
