"""Refuses flags that could change no run of the grid as asked."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from .criterion_flags import WEIGHTS
from .flags import grouped
from .methods import ALL_STATES, LOGITS_ONLY, NO_TEACHER, WITHOUT_TEACHER
from .plan import METHOD

# Has a first stage; also what holds without --stage.
TWO = "two"


def check_idle(
    given: Mapping[str, Any], typed: Mapping[str, Any], flags: Sequence[str], typed_flags: Sequence[str]
) -> None:
    """ValueError where a flag is of no use to any method or stage.

    given, typed  all settings; those of the command line alone
    flags         what follows --, and in a file stands for it; typed_flags, on the command line alone

    What a file gives may be for methods and stages other than those that the command line has left of it.
    """
    kind = given.get("experiment", METHOD)
    methods = _named(given, "method")
    told = f"--method {','.join(sorted(methods))}"

    meant_flags = typed_flags if "method" in typed else flags
    weights = [name for name, _ in grouped(meant_flags) if name in WEIGHTS]
    if weights and methods == {NO_TEACHER}:
        _refuse(weights[0], told if kind == METHOD else f"-e {kind}", "learns from the labels alone")
    if kind != METHOD or not methods:
        return

    def meant(name: str, *by: str) -> bool:
        return name in typed or (name in given and not set(by) & typed.keys())

    stages = _named(given, "stage") or {TWO}
    if meant("mapping", "method") and methods <= LOGITS_ONLY | ALL_STATES:
        _refuse("--mapping", told, "pairs no layers")
    if meant("stage", "method") and TWO in stages and methods <= LOGITS_ONLY:
        _refuse(f"--stage {TWO}", told, "has one stage alone")
    if meant("stage1_epochs", "method", "stage"):
        if methods <= LOGITS_ONLY:
            _refuse("--stage1-epochs", told, "has one stage alone")
        if TWO not in stages:
            _refuse("--stage1-epochs", "--stage one", "has no first stage apart")
    if meant("teacher_cache", "method") and methods <= WITHOUT_TEACHER:
        _refuse("--teacher-cache", told, "asks no teacher")


def _refuse(flag: str, by: str, reason: str) -> NoReturn:
    raise ValueError(f"{flag} is of no use to {by}, which {reason}: leave it out")


def _named(given: Mapping[str, Any], name: str) -> set[str]:
    return {word for words in given.get(name, ()) for word in words}
