"""The metrics of a split from its predictions, as a training run logs them."""

import torch

from ..metrics import accuracy, f1, label_statistics, mcc, pearson, spearman
from .predictions import Predictions


def scores(predictions: Predictions) -> dict[str, float]:
    """All metrics of the labels by name, in percent.

    accuracy, mcc and, for two classes, f1; for regression pearson and spearman. Raises ValueError
    without labels.
    """
    if predictions.labels is None:
        raise ValueError("predictions without labels have no score")

    logits, labels = torch.from_numpy(predictions.logits), torch.from_numpy(predictions.labels)
    split = {"target": labels, "id": torch.arange(len(labels)), "split_sentences": len(labels)}
    statistics = label_statistics(logits, split, regression=logits.size(1) == 1, training=False)
    if "moments" in statistics:
        return {
            "pearson": pearson(statistics["moments"]),
            "spearman": spearman(statistics["predictions"]),
        }

    counts = statistics["confusion"]
    found = {"accuracy": accuracy(counts), "mcc": mcc(counts)}
    return found | ({"f1": f1(counts)} if len(counts) == 2 else {})


def in_words(found: dict[str, float]) -> str:
    """`accuracy 81.19, mcc 62.4, f1 82`"""
    return ", ".join(f"{name} {value:.4g}" for name, value in found.items())
