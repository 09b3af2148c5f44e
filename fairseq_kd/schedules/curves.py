"""The learning rate over a schedule, whatever its length is measured in."""

CURVES = ("linear", "exponential", "constant")


def factor(curve: str, x: float, warmup: float, decay_rate: float, decay_step: float) -> float:
    """The learning rate at share x of a schedule, as a share of its peak.

        x / w                x < w, the warm-up
        (1 - x) / (1 - w)    linear
        r ^ ((x - w) / s)    exponential
        1                    constant

    x           0 at the beginning, 1 at the end and after it
    warmup      w, a share of the schedule, below 1
    decay_rate  r, what the rate is multiplied by
    decay_step  s, over this share of the schedule

    As in academic-budget BERT (Izsak et al., How to Train BERT with an Academic Budget, EMNLP 2021).
    """
    x = min(x, 1.0)
    if x < warmup:
        return x / warmup
    if curve == "linear":
        return (1.0 - x) / (1.0 - warmup)
    if curve == "exponential":
        return decay_rate ** ((x - warmup) / decay_step)
    return 1.0
