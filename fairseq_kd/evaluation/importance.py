"""How much a finished model's loss depends on each of its weights."""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import CannotStart
from ..models.checkpoint import Checkpoint
from ..models.pruning import fingerprint, scored
from ..signals import Wanted
from ..teachers.live import frozen_model
from .files import atomic_write
from .finished import FinishedModel

NAME = "importance.safetensors"


def importance(
    finished: FinishedModel,
    split: str,
    device: torch.device,
    batch_size: int,
    seed: int,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, Tensor]:
    """I = | sum over mini-batches of |dL/dw| * w | over one epoch, for the weights that pruning goes by.

    L is the mean over a mini-batch of the task's loss, without dropout, and no weight changes. Batches are
    drawn at random: the sum over batches depends on which sentences share one.

    tell  called after each batch with how many are done
    """
    dataset = finished.dataset(split)
    if dataset.targets is None:
        raise CannotStart(f"{finished.data} has no labels for {split}: name a split that has them (--split).")

    model = frozen_model(finished.checkpoint, finished.task.dictionary, finished.head, "--checkpoint").to(
        device
    )
    weights = dict(model.named_parameters())
    weights = {name: weights[name].requires_grad_(True) for name in scored(finished.checkpoint.shape.layers)}
    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}

    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))
    batches = order.split(batch_size)
    for number, indices in enumerate(batches, start=1):
        sample = dataset.collater([dataset[int(index)] for index in indices])
        given = {name: _moved(value, device) for name, value in sample["net_input"].items()}
        target = {"target": sample["target"].to(device)}
        signals = model(**given, wanted=Wanted(logits=True), classification_head_name=finished.head)
        loss = finished.task.objective.terms({"hard": 1.0}, 1.0, signals, None, target)["hard"].mean()
        gradients = torch.autograd.grad(loss, list(weights.values()))
        for total, gradient in zip(sums.values(), gradients, strict=True):
            total += gradient.abs()
        tell(number, len(batches))
    return {name: (sums[name] * weight.detach()).abs().cpu() for name, weight in weights.items()}


def write(found: dict[str, Tensor], checkpoint: Checkpoint, path: Path) -> None:
    """A safetensors file that remembers whose importance it is."""
    model = fingerprint(checkpoint.weights, checkpoint.shape.layers)
    with atomic_write(path) as file:
        file.write(save(found, metadata={"model": model}))


def read(path: Path, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """What `write` wrote for these weights; CannotStart where it is something else."""
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
    if model != fingerprint(checkpoint.weights, checkpoint.shape.layers):
        raise CannotStart(
            f"--importance {path} is that of other weights than --checkpoint {checkpoint.path} has: make it again "
            "(scripts/score_importance.py).",
            doing="prune",
        )
    return found


def _moved(value, device: torch.device):
    return value.to(device) if isinstance(value, Tensor) else value
