"""How a model becomes small in several steps."""

from dataclasses import dataclass, replace

# Width: heads, feed-forward neurons and embeddings.
TOGETHER, WIDTH_FIRST, DEPTH_FIRST = ORDERS = ("together", "width-first", "depth-first")


@dataclass(frozen=True)
class Size:
    """Layers, attention heads and feed-forward neurons of each, dimensions of the word embeddings."""

    layers: int
    heads: int
    ffn: int
    rank: int

    def __str__(self) -> str:
        return f"{self.layers} layers, {self.heads} heads, ffn {self.ffn}, embeddings of rank {self.rank}"


def schedule(start: Size, end: Size, steps: int, order: str) -> list[Size]:
    """The sizes on the way from `start`, which is left out, to `end`; sizes that repeat are left out, too.

    together     each step takes an equal part of everything
    width-first  `steps` steps in width, then as many in depth
    depth-first  the other way round
    """
    if order == TOGETHER:
        corners = [start, end]
    elif order == WIDTH_FIRST:
        corners = [start, replace(end, layers=start.layers), end]
    else:
        corners = [start, replace(start, layers=end.layers), end]
    sizes = [start]
    for begin, target in zip(corners, corners[1:], strict=False):
        for step in range(1, steps + 1):
            sizes.append(_between(begin, target, step / steps))
    return list(dict.fromkeys(sizes))[1:]


def _between(start: Size, end: Size, share: float) -> Size:
    theirs = vars(end)
    return Size(**{name: round(size + share * (theirs[name] - size)) for name, size in vars(start).items()})
