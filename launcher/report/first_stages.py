"""Finds the first stage of a second-stage run, even if its folder no longer exists."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..overrides import without_weights
from ..planning.run_spec import FIRST, RunSpec
from .runs import Run


def first_stages(runs: Sequence[Run]) -> Callable[[RunSpec], RunSpec | None]:
    """Return a function from the spec of one of these runs to that of its first stage; None if none or unknown.

    If the folder of a first stage no longer exists, its name is still known and ends in a hash of all its settings. So
    candidates are tried: first stages of other seeds, and the settings of the second stage. A candidate with that name
    is the right one.
    """
    existing = {run.name: run.spec for run in runs}
    known = dict.fromkeys(replace(run.spec, seed=0) for run in runs if run.spec.stage == FIRST)

    def first_stage(second: RunSpec) -> RunSpec | None:
        if second.after in existing:
            return existing[second.after]
        if not second.after:
            return None
        same = replace(second, stage=FIRST, after="", stage2_from=RunSpec.stage2_from)
        guesses = [same, replace(same, flags=without_weights(same.flags))]
        guesses += [replace(one, seed=second.seed) for one in known]
        return next((guess for guess in guesses if guess.name == second.after), None)

    return first_stage
