"""Computes the importance of a trained model's weights for its loss."""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import CannotStart
from ..models.checkpoint import Checkpoint
from ..models.pruning import scored_names, scored_weights_hash
from ..signals import Wanted
from ..teachers.live import frozen_model, move
from .loaded_model import LoadedModel
from .output_file import atomic_write

# Name of the file in the model's folder.
NAME = "importance.safetensors"


def importance(
    loaded: LoadedModel,
    split: str,
    device: torch.device,
    batch_size: int,
    seed: int,
    report: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, Tensor]:
    """Return I = | sum over mini-batches of |dL/dw| * w | over one epoch, for the weights that pruning uses.

    L is the mean of the task's loss over a mini-batch, without dropout; weights are not updated. Mini-batches are random,
    and the result depends on which sentences share a mini-batch.

    report  called after each batch with the number of finished batches and their total

    Raises CannotStart if the split has no labels.
    """
    dataset = loaded.dataset(split)
    if dataset.targets is None:
        raise CannotStart(f"{loaded.data} has no labels for {split}: name a split that has them (--split).")

    model = frozen_model(loaded.checkpoint, loaded.task.dictionary, loaded.head, "--checkpoint").to(device)
    weights = dict(model.named_parameters())
    weights = {
        name: weights[name].requires_grad_(True) for name in scored_names(loaded.checkpoint.shape.layers)
    }
    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}

    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))
    batches = order.split(batch_size)
    for number, indices in enumerate(batches, start=1):
        sample = dataset.collater([dataset[int(index)] for index in indices])
        given = {name: move(value, device) for name, value in sample["net_input"].items()}
        target = {"target": sample["target"].to(device)}
        signals = model(**given, wanted=Wanted(logits=True), classification_head_name=loaded.head)
        loss = loaded.task.objective.terms({"hard": 1.0}, 1.0, signals, None, target)["hard"].mean()
        gradients = torch.autograd.grad(loss, list(weights.values()))
        for total, gradient in zip(sums.values(), gradients, strict=True):
            total += gradient.abs()
        report(number, len(batches))
    return {name: (sums[name] * weight.detach()).abs().cpu() for name, weight in weights.items()}


def write(found: dict[str, Tensor], checkpoint: Checkpoint, path: Path) -> None:
    """Write a safetensors file with a hash of the weights."""
    model = scored_weights_hash(checkpoint.weights, checkpoint.shape.layers)
    with atomic_write(path) as file:
        file.write(save(found, metadata={"model": model}))


def read(path: Path, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the importance in a file of `write`. Raises CannotStart if it is missing, damaged or of other weights."""
    if not path.is_file():
        raise CannotStart(
            f"--importance {path} does not exist: make it with scripts/score_importance.py --checkpoint "
            f"{checkpoint.path}.",
            doing="prune",
        )
    try:
        with safe_open(path, "pt") as file:
            model = (file.metadata() or {}).get("model")
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise CannotStart(
            f"--importance {path} cannot be read ({error}): make it again.", doing="prune"
        ) from None
    if model != scored_weights_hash(checkpoint.weights, checkpoint.shape.layers):
        raise CannotStart(
            f"--importance {path} was computed for other weights than --checkpoint {checkpoint.path}: make it again "
            "(scripts/score_importance.py).",
            doing="prune",
        )
    return found
