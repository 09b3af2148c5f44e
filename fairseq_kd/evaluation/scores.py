"""Computes the metrics of a split from its predictions, as in training."""

import torch

from ..metrics import accuracy, f1, label_statistics, macro_f1, mcc, moments, pearson, spearman
from .predictions import Predictions


def scores(predictions: Predictions) -> dict[str, float]:
    """Return all metrics of the predictions by name, in percent.

    These are accuracy, mcc and f1 (macro_f1 for more than two classes); pearson and spearman for regression. Raises
    ValueError without labels.
    """
    if predictions.labels is None:
        raise ValueError("predictions without labels have no score")

    logits, labels = torch.from_numpy(predictions.logits), torch.from_numpy(predictions.labels)
    split = {"target": labels, "id": torch.arange(len(labels)), "split_sentences": len(labels)}
    statistics = label_statistics(logits, split, regression=logits.size(1) == 1, training=False)
    if "moments" in statistics:
        return {"pearson": pearson(statistics["moments"]), "spearman": spearman(statistics["predictions"])}

    counts = statistics["confusion"]
    found = {"accuracy": accuracy(counts), "mcc": mcc(counts)}
    return found | ({"f1": f1(counts)} if len(counts) == 2 else {"macro_f1": macro_f1(counts)})


def agreement(first: Predictions, second: Predictions) -> float:
    """Return the percentage of sentences with equal classes; for regression, the Pearson correlation in percent."""
    if first.logits.shape[1] == 1:
        return pearson(moments(*(torch.from_numpy(each.logits[:, 0]).double() for each in (first, second))))
    return 100.0 * float((first.logits.argmax(axis=1) == second.logits.argmax(axis=1)).mean())


def format_scores(found: dict[str, float]) -> str:
    """Return text such as `accuracy 81.19, mcc 62.4, f1 82`."""
    return ", ".join(f"{name} {value:.4g}" for name, value in found.items())
