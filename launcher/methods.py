"""The methods of a grid: `none`, and every criterion of the plugin."""

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .overrides import Overrides, Value
from .plugin import describe_criterions

# A student that is fine-tuned on the labels only: the baseline of all methods.
NO_TEACHER = "none"

# The criterion of labels and logits, used in second stages.
LOGITS = "kd"


@dataclass(frozen=True)
class Method:
    """The properties of a method that planning depends on; the attributes are those of `DistillationCriterion`.

    flags  type, default and choices of each flag of its criterion
    """

    needs_teacher: bool
    needs_classes: str
    first_stage: bool
    mixes_states: bool
    flags: Mapping[str, Mapping[str, Any]]

    @property
    def mapping(self) -> str | None:
        """Default of `--mapping`; None for a method that pairs no layers."""
        return self.flags["--mapping"]["default"] if "--mapping" in self.flags else None


Methods = Mapping[str, Method]


@functools.cache
def find_methods(trainer: str | None = None) -> Methods:
    """Return all methods by name, `none` first; raise ValueError as `plugin.run_module`.

    trainer  value of `--trainer`; None searches for fairseq-train
    """
    criterions = {name: Method(**each) for name, each in describe_criterions(trainer).items()}
    return {NO_TEACHER: replace(criterions[LOGITS], needs_teacher=False), **criterions}


def check_methods(names: Collection[str], methods: Methods) -> None:
    """Raise ValueError for a name that is not a method."""
    for name in names:
        if name not in methods:
            raise ValueError(f"--method {name} is not a method: choose among {', '.join(methods)}")


def fitting(overrides: Overrides, criterion: str, methods: Methods) -> dict[str, Value]:
    """Return the overrides without flags that only other criterions have."""
    others = set().union(*(method.flags for method in methods.values())) - methods[criterion].flags.keys()
    return {flag: value for flag, value in overrides.items() if flag not in others}
