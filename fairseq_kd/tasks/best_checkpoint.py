"""Checks of the metric that chooses the best checkpoint and stops early (`--patience`)."""

from collections.abc import Collection

# For all other logged values, losses and perplexities, lower is better.
HIGHER_IS_BETTER = frozenset({"accuracy", "f1", "mcc", "pearson", "spearman"})


def problems(metric: str, maximize: bool, logged: Collection[str]) -> list[str]:
    """Return why the best checkpoint would be wrong: one sentence, or none.

    metric    `--best-checkpoint-metric`
    maximize  `--maximize-best-checkpoint-metric`, without which fairseq keeps the lowest
    logged    the names of all values that every validation logs
    """
    given, flag = f"--best-checkpoint-metric {metric}", "--maximize-best-checkpoint-metric"
    if metric not in logged:
        return [f"{given} is not logged here: choose from {', '.join(sorted(logged))}."]
    if maximize and metric not in HIGHER_IS_BETTER:
        return [f"{given} is better if lower, so {flag} would keep the worst checkpoint: remove that flag."]
    if not maximize and metric in HIGHER_IS_BETTER:
        return [f"{given} is better if higher, so the worst checkpoint would be kept: add {flag}."]
    return []
