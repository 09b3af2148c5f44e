"""Metrics of GLUE and of other classification, computed from statistics that are summed over batches and workers.

Accuracy, F1 and Matthews correlation use the confusion matrix. Pearson correlation uses six sums.
Spearman correlation uses a table of the split's predictions. All are logged in percent, as in GLUE.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from fairseq.logging import metrics
from torch import Tensor

# Logged values for which higher is better. For all others (losses and perplexity), lower is better.
HIGHER_IS_BETTER = frozenset({"accuracy", "f1", "macro_f1", "mcc", "pearson", "spearman"})


def label_statistics(
    logits: Tensor, sample: Mapping[str, Any], regression: bool, training: bool
) -> dict[str, Tensor]:
    """Return a batch's statistics: tensors to be summed over batches and workers.

    logits      [B, C], or [B, 1] for regression
    sample      the batch: target [B], -100 or NaN without label; id [B], split_sentences
    regression  whether targets are numbers
    training    True omits the table for Spearman correlation, which is as long as the split
    """
    target = sample["target"]
    if not regression:
        return {"confusion": confusion(logits, target)}

    predicted, target = logits.flatten().double(), target.flatten().double()
    statistics = {"moments": moments(predicted, target)}
    if not training:
        statistics["predictions"] = predictions(predicted, target, sample["id"], sample["split_sentences"])
    return statistics


def metric_names(classes: int, regression: bool) -> set[str]:
    """Return the names of the label metrics that validation logs."""
    if regression:
        return {"pearson", "spearman"}
    return {"accuracy", "mcc", "f1" if classes == 2 else "macro_f1"}


def log_metrics(logging_outputs: list[dict[str, Any]]) -> None:
    """Log the loss, its terms, and all metrics for which there are statistics."""
    first = logging_outputs[0] if logging_outputs else {}
    totals = _on_host({key: sum(output[key] for output in logging_outputs) for key in first})
    sample_size, sentences = (float(totals.get(name, 0)) for name in ("sample_size", "nsentences"))

    for key, total in totals.items():
        prefix, _, name = key.partition("_")
        if key == "loss":
            metrics.log_scalar("loss", total / sample_size, sample_size, round=5)
        elif prefix == "term":
            metrics.log_scalar(name, total / sentences, sentences, round=5)
        elif prefix == "token":
            metrics.log_scalar(name, total / sample_size, sample_size, round=5)
    if "token_hard" in totals:
        metrics.log_derived("ppl", lambda meters: round(math.exp(min(meters["hard"].avg, 80)), 2))

    if "confusion" in totals:
        metrics.log_scalar_sum("_confusion", totals["confusion"])
        metrics.log_derived("accuracy", lambda meters: accuracy(meters["_confusion"].sum))
        metrics.log_derived("mcc", lambda meters: mcc(meters["_confusion"].sum))
        if len(totals["confusion"]) == 2:
            metrics.log_derived("f1", lambda meters: f1(meters["_confusion"].sum))
        else:
            metrics.log_derived("macro_f1", lambda meters: macro_f1(meters["_confusion"].sum))

    if "moments" in totals:
        metrics.log_scalar_sum("_moments", totals["moments"])
        metrics.log_derived("pearson", lambda meters: pearson(meters["_moments"].sum))

    if "predictions" in totals:
        # fairseq also has one group of meters for all subsets together. Their tables cannot be added if sizes differ.
        key = f"_predictions_{totals['predictions'].size(1)}"
        metrics.log_scalar_sum(key, totals["predictions"])
        metrics.log_derived("spearman", lambda meters: spearman(meters[key].sum))


def confusion(logits: Tensor, target: Tensor) -> Tensor:
    """Return counts [C, C]: row = true class, column = predicted class.

    logits [B, C], target [B]; negative targets are not counted
    """
    classes = logits.size(-1)
    cell = target.clamp(min=0) * classes + logits.argmax(dim=-1)
    counts = torch.zeros(classes * classes, dtype=torch.float64, device=logits.device)
    return counts.scatter_add_(0, cell, (target >= 0).double()).view(classes, classes)


def accuracy(counts: Tensor) -> float:
    """Return the percentage of correct predictions."""
    counts = counts.cpu().numpy()
    return _percent(np.trace(counts), counts.sum())


def f1(counts: Tensor) -> float:
    """Return the F1 of class 1 in percent; 0 if class 1 is neither present nor predicted."""
    (_, false_positive), (false_negative, true_positive) = counts.tolist()
    return _percent(2 * true_positive, 2 * true_positive + false_positive + false_negative)


def macro_f1(counts: Tensor) -> float:
    """Return the mean F1 of the classes in percent, without classes that are neither present nor predicted."""
    counts = counts.cpu().numpy()
    sizes = counts.sum(axis=0) + counts.sum(axis=1)
    found = sizes > 0
    return _percent((2 * np.diag(counts)[found] / sizes[found]).sum(), found.sum())


def mcc(counts: Tensor) -> float:
    """Return the Matthews correlation in percent, for any number of classes; 0 if undefined."""
    counts = counts.cpu().numpy()
    total, true, predicted = counts.sum(), counts.sum(axis=1), counts.sum(axis=0)
    covariance = np.trace(counts) * total - true @ predicted
    return _percent(covariance, math.sqrt((total**2 - true @ true) * (total**2 - predicted @ predicted)))


def moments(predicted: Tensor, target: Tensor) -> Tensor:
    """Return [6]: n and the sums of x, y, x^2, y^2, xy.

    predicted, target [B] in float64; NaN targets are not counted
    """
    counted = ~target.isnan()
    x, y = predicted * counted, target.nan_to_num()
    return torch.stack([counted.double(), x, y, x * x, y * y, x * y]).sum(dim=1)


def pearson(sums: Tensor) -> float:
    """Return the Pearson correlation in percent from the `moments`; 0 if undefined."""
    n, x, y, xx, yy, xy = sums.tolist()
    variances = (n * xx - x * x) * (n * yy - y * y)
    return _percent(n * xy - x * y, math.sqrt(max(variances, 0.0)))


def predictions(predicted: Tensor, target: Tensor, ids: Tensor, sentences: int) -> Tensor:
    """Return [3, N]: count, prediction and target of each sentence of a split; 0 for those not in the batch.

    The sum of these tables over all batches and workers covers the whole split.
    """
    table = torch.zeros(3, sentences, dtype=torch.float64, device=predicted.device)
    table[:, ids] = torch.stack([torch.ones_like(predicted), predicted, target])
    return table


def spearman(table: Tensor) -> float:
    """Return the Spearman correlation in percent from the summed `predictions`; 0 if undefined."""
    # Imported here because it takes as long as half of torch, and only regression needs it.
    from scipy.stats import spearmanr

    seen, predicted, true = table.cpu().numpy()
    predicted, true = (column[seen > 0] / seen[seen > 0] for column in (predicted, true))
    if min(np.ptp(predicted), np.ptp(true)) == 0:
        return 0.0
    return _percent(float(spearmanr(predicted, true).statistic), 1.0)


def reset_meters(name: str) -> None:
    """Clear one of fairseq's named groups of meters, which otherwise grow without limit."""
    meters = metrics.get_meters(name)
    if meters is not None:
        meters.clear()
        meters.priorities.clear()


def _on_host(totals: Mapping[str, Any]) -> dict[str, Any]:
    """Return the totals with all tensors on the host, with unchanged dtypes.

    One copy reads all of them. fairseq rounds every logged number and computes every metric at each update. Without
    this copy, each of these would wait for the device.
    """
    tensors = {key: total for key, total in totals.items() if torch.is_tensor(total)}
    if not tensors:
        return dict(totals)
    # float64 is exact for all of these numbers: none needs more than 53 bits.
    numbers = torch.cat([tensor.detach().flatten().double() for tensor in tensors.values()]).cpu()
    parts = numbers.split([tensor.numel() for tensor in tensors.values()])
    read = {
        key: part.to(tensor.dtype).view(tensor.shape)
        for (key, tensor), part in zip(tensors.items(), parts, strict=True)
    }
    return {**totals, **read}


def _percent(part: float, whole: float) -> float:
    return round(100.0 * float(part) / float(whole), 4) if whole else 0.0
