"""By what a run's best checkpoint is chosen, and stopped early for want of (`--patience`)."""

from collections.abc import Collection

# Of all that validations log; of the others, losses and perplexities, less is better.
HIGHER_IS_BETTER = frozenset({"accuracy", "f1", "mcc", "pearson", "spearman"})


def problems(metric: str, maximize: bool, logged: Collection[str]) -> list[str]:
    """Why no best checkpoint can be chosen so, one sentence; none where it can.

    metric    `--best-checkpoint-metric`
    maximize  `--maximize-best-checkpoint-metric`, without which fairseq keeps the lowest
    logged    the names of what every validation logs
    """
    given = f"--best-checkpoint-metric {metric}"
    if metric not in logged:
        return [f"{given} is not logged here: choose among {', '.join(sorted(logged))}."]
    if maximize == (metric in HIGHER_IS_BETTER):
        return []
    if maximize:
        return [
            f"{given} is better the lower it is, and --maximize-best-checkpoint-metric would keep the worst checkpoint: "
            "leave that out."
        ]
    return [
        f"{given} is better the higher it is, and without --maximize-best-checkpoint-metric the worst checkpoint would be "
        "kept: add it."
    ]
