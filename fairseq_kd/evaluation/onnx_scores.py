"""Scores ONNX files of a model on the dev sets of its task."""

from collections.abc import Mapping
from typing import Any

import torch

from ..convert.onnx import OnnxFile
from ..models.checkpoint import Checkpoint
from ..models.label_order import logit_columns
from .loaded_model import LoadedModel, split_logits
from .predictions import Predictions
from .scores import scores


def score_table(files: Mapping[str, OnnxFile], checkpoint: Checkpoint, model: LoadedModel) -> list[str]:
    """Return the lines of a Markdown table: one row for each metric of each dev set, one column for each file.

    files       ONNX files of `checkpoint` by name
    checkpoint  as it was exported: its classes may have another order than those of the data
    model       the same checkpoint with its data
    """
    columns = logit_columns(model.metadata.labels, checkpoint, model.head)
    lines = [f"| split | sentences | metric | {' | '.join(files)} |", "|---" * (3 + len(files)) + "|"]
    for split in model.splits():
        if split.startswith("valid") and model.dataset(split).targets is not None:
            found = [scores(_predictions(file, model, split, columns)) for file in files.values()]
            for metric in found[0]:
                values = " | ".join(f"{each[metric]:.2f}" for each in found)
                lines.append(f"| {split} | {len(model.dataset(split))} | {metric} | {values} |")
    return lines


def _predictions(file: OnnxFile, model: LoadedModel, split: str, columns: list[int]) -> Predictions:
    def compute(net_input: Mapping[str, Any]) -> torch.Tensor:
        return torch.from_numpy(file.outputs(net_input["src_tokens"])[:, columns])

    dataset = model.dataset(split)
    return Predictions(split_logits(compute, dataset, model.batch_size), dataset.targets.numpy())
