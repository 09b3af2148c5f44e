"""Best of a grid: which batch size and learning rate a cell is reported with, where several were tried."""

from collections.abc import Callable, Mapping, Sequence
from statistics import mean
from typing import TypeVar

Tried = TypeVar("Tried")

WARNING = (
    "The dev scores of a row are the highest mean among its batch sizes and learning rates, so they come out higher "
    "the more of them were tried"
)


def best_tried(tried: Sequence[Tried], scores: Callable[[Tried], Mapping[int, float]]) -> Tried | None:
    """The first with the highest mean over seeds, among those with the most seeds; None where none has any.

    scores  by seed

    One that lacks seeds which others have is not compared with them: few seeds reach far up by chance.
    """
    finished = [one for one in tried if scores(one)]
    return max(finished, key=lambda one: (len(scores(one)), mean(scores(one).values())), default=None)


def all_best(tried: Sequence[Tried], scores: Callable[[Tried], Mapping[int, float]]) -> list[Tried]:
    """The best one and those that a table, with its two decimals, shows as equally good; none where none has a score."""
    best = best_tried(tried, scores)
    return [] if best is None else [one for one in tried if _shown(scores(one)) == _shown(scores(best))]


def _shown(scores: Mapping[int, float]) -> tuple[int, str]:
    return len(scores), f"{mean(scores.values()):.2f}" if scores else ""


def of_tried(tried: Sequence[Tried], scores: Callable[[Tried], Mapping[int, float]]) -> str:
    """How many the best one was chosen among: `8`, or `5 of 8` while some have no score yet, or fewer seeds than it.

    `8, 2 alike` where two of them are equally good.
    """
    seeds = [len(scores(one)) for one in tried]
    compared = seeds.count(max(seeds)) if any(seeds) else 0
    among = str(compared) if compared == len(tried) else f"{compared} of {len(tried)}"
    alike = len(all_best(tried, scores))
    return f"{among}, {alike} alike" if alike > 1 else among


def setting_name(batch_size: int, lr: float) -> str:
    """`16, 3e-05`"""
    return f"{batch_size}, {lr:g}"
