"""Finds the first stages of second-stage runs, even if their folders no longer exist."""

from collections.abc import Sequence
from dataclasses import replace

from ..overrides import without_weights
from ..planning.run_spec import FIRST, RunSpec
from .runs import Run


def find_first_stages(runs: Sequence[Run]) -> dict[str, RunSpec]:
    """Return the specs of the first stages that second stages name in `after`; unknown ones are missing.

    The name of a deleted first stage ends in a hash of its settings. So candidates are tried: the settings of the second
    stage, and first stages of other seeds. A candidate with that name is the right one.
    """
    known = {run.name: run.spec for run in runs}
    of_any_seed = {
        spec.name: spec for spec in (replace(run.spec, seed=0) for run in runs if run.spec.stage == FIRST)
    }
    found = {}
    for second in (run.spec for run in runs if run.spec.after):
        if second.after in known:
            found[second.after] = known[second.after]
            continue
        same = replace(second, stage=FIRST, after="", stage2_from=RunSpec.stage2_from)
        candidates = [same, replace(same, overrides=without_weights(same.overrides))]
        candidates += [replace(first, seed=second.seed) for first in of_any_seed.values()]
        found |= {first.name: first for first in candidates if first.name == second.after}
    return found
