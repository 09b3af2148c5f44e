"""How long a run's learning-rate schedule is, where its flags gather several batches for one update."""

import re
from collections.abc import Sequence

from ..datasets import TaskSettings
from ..overrides import value_of

FREQUENCIES = re.compile(r"[1-9]\d*(,[1-9]\d*)*")


def update_freqs(flags: Sequence[str], epochs: int) -> list[int]:
    """Batches an update in each epoch: --update-freq, whose last number holds for all epochs to come.

    ValueError where it is something else.
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
    """`epochs`, `updates` and `warmup` of a run: see TaskSettings.schedule, of the sentences that an update has in truth.

    A number that the flags give themselves is fairseq's affair, and what stands here is as if every batch were an update.
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
