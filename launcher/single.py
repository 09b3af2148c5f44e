"""One training by itself, for programs that make a model and no grid."""

import sys

from . import runner
from .job import Job
from .programs import Programs
from .slots import Slot
from .train import Outcome, train


def run_alone(job: Job, slot: Slot) -> Outcome:
    """Trains; KeyboardInterrupt, whatever the signal, once its programs have ended."""
    programs, outcomes = Programs(), list[Outcome]()
    with runner.ending_as_interrupted():
        runner.run_all(
            [job],
            lambda job, slot: train(job, slot, programs),
            lambda _, outcome: outcomes.append(outcome),
            [slot],
            programs.stop,
        )
    [outcome] = outcomes
    return outcome


def say_problem(outcome: Outcome) -> None:
    """Says what went wrong, if anything did; the model may be there all the same (`outcome.result`)."""
    if outcome.result is None:
        print(f"Training {'skipped' if outcome.skipped else 'failed'}: {outcome.problem}", file=sys.stderr)
    elif outcome.note:
        print(outcome.note, file=sys.stderr)
