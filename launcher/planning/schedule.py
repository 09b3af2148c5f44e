"""Computes the length of a run's learning-rate schedule, with --update-freq taken into account."""

import re
from collections.abc import Sequence

from ..datasets import TaskSettings
from ..overrides import value_of

FREQUENCIES = re.compile(r"[1-9]\d*(,[1-9]\d*)*")


def update_freqs(flags: Sequence[str], epochs: int) -> list[int]:
    """Return the batches per update of each epoch, from --update-freq; its last number holds for the remaining epochs.

    Raises ValueError if the value is invalid.
    """
    given = value_of("--update-freq", flags)
    if given is None:
        return [1] * epochs
    plain = given.replace(" ", "").strip("[]()").rstrip(",")
    if not FREQUENCIES.fullmatch(plain):
        raise ValueError(
            f"the flags after -- give --update-freq {given}, which is no number of batches from 1, nor a list of them such "
            "as 4,2: correct it"
        )
    numbers = [int(number) for number in plain.split(",")]
    return [numbers[min(epoch, len(numbers) - 1)] for epoch in range(epochs)]


def scheduled(
    settings: TaskSettings, epochs: int, batch_size: int, sentences: int, flags: Sequence[str] = ()
) -> dict[str, int]:
    """Return `epochs`, `updates` and `warmup` of a run, scaled to the sentences per update (see TaskSettings.schedule).

    A number that the flags set themselves overrides ours, which is then computed without --update-freq.
    """
    each_update = settings.schedule(epochs, batch_size, sentences)
    freqs = update_freqs(flags, epochs)
    gathered = epochs / sum(1 / freq for freq in freqs)  # batches an update, over all of them
    updates, warmup = settings.schedule(epochs, batch_size * gathered, sentences)
    return {
        "epochs": epochs,
        "updates": updates if value_of("--total-num-update", flags) is None else each_update[0],
        "warmup": warmup if value_of("--warmup-updates", flags) is None else each_update[1],
    }
