"""The first stage that a second one started from, whether or not its folder is still there."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..flags import without_weights
from ..spec import FIRST, RunSpec
from .runs import Run


def first_stages(runs: Sequence[Run]) -> Callable[[RunSpec], RunSpec | None]:
    """What tells the first stage of any of these runs; None where there was none, or it is not known.

    Of one whose folder is gone the name is left, which ends in a hash of all its settings. So it can be guessed: as those
    of other seeds, or with the settings of the second stage; a guess of that name is right.
    """
    there = {run.name: run.spec for run in runs}
    known = dict.fromkeys(replace(run.spec, seed=0) for run in runs if run.spec.stage == FIRST)

    def first_stage(second: RunSpec) -> RunSpec | None:
        if second.after in there:
            return there[second.after]
        if not second.after:
            return None
        same = replace(second, stage=FIRST, after="", stage2_from=RunSpec.stage2_from)
        guesses = [same, replace(same, flags=without_weights(same.flags))]
        guesses += [replace(one, seed=second.seed) for one in known]
        return next((guess for guess in guesses if guess.name == second.after), None)

    return first_stage
