"""Measures what a trained model costs: parameters, size, time and memory of inference."""

import gc
import logging
import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np
import torch

from ..models.checkpoint import Checkpoint
from ..models.shape import SENTENCE_ENCODER
from ..signals import Wanted
from ..teachers.live import frozen_model, move
from .loaded_model import LoadedModel, device, uses_autocast, weights_dtype

WARM_UP = 3  # batches before the first that is measured


@dataclass(frozen=True)
class Timing:
    """Milliseconds per batch: median and quartiles over the measured batches."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Size:
    """Number of parameters, those of the embeddings among them, and bytes of the weights as the run computed with them."""

    parameters: int
    embeddings: int
    bytes: int


def size_of(model: LoadedModel) -> Size:
    """Return the size of the model for inference: encoder and classification head, without a masked-LM head."""
    built = frozen_model(model.checkpoint, model.task.dictionary, model.head, "--checkpoint")
    sizes = {name: parameter.numel() for name, parameter in built.named_parameters()}
    embeddings = sum(size for name, size in sizes.items() if name.startswith(f"{SENTENCE_ENCODER}embed"))
    total = sum(sizes.values())
    return Size(total, embeddings, total * weights_dtype(model.checkpoint).itemsize)


class _Runner:
    """A model on a device that computes logits in the precision of its run."""

    def __init__(self, model: LoadedModel, on: torch.device) -> None:
        checkpoint: Checkpoint = model.checkpoint
        built = frozen_model(checkpoint, model.task.dictionary, model.head, "--checkpoint")
        self.model, self.on, self.head = built.to(on, weights_dtype(checkpoint)), on, model.head
        self.autocast = uses_autocast(checkpoint)

    @torch.inference_mode()
    def run(self, net_input: dict[str, Any]) -> None:
        """Compute the logits of a batch, and wait for them."""
        given = {name: move(value, self.on) for name, value in net_input.items()}
        with torch.autocast(self.on.type, dtype=torch.bfloat16, enabled=self.autocast):
            signals = self.model(**given, wanted=Wanted(logits=True), classification_head_name=self.head)
        signals.logits.cpu()


def time_in_turns(
    models: Sequence[LoadedModel], split: str, batch_size: int, rounds: int, cpu: bool, seed: int = 1
) -> list[Timing]:
    """Return the time per batch of each model. In every round, all models compute the same batch, one after the other.

    So that other load on the machine affects all of them alike.

    split       split of the data whose sentences are used, in random batches
    batch_size  sentences per batch
    rounds      number of measured batches
    cpu         whether to ignore a GPU
    """
    runners = [_Runner(model, device(cpu)) for model in models]
    datasets = [model.dataset(split) for model in models]
    random = np.random.default_rng(seed)
    seconds: list[list[float]] = [[] for _ in models]
    for number in range(WARM_UP + rounds):
        rows = random.integers(len(datasets[0]), size=batch_size)
        for runner, dataset, measured in zip(runners, datasets, seconds, strict=True):
            batch = dataset.collater([dataset[int(row)] for row in rows])["net_input"]
            began = time.perf_counter()
            runner.run(batch)
            if number >= WARM_UP:
                measured.append(time.perf_counter() - began)
    quartiles = [1000 * np.percentile(measured, [50, 25, 75]) for measured in seconds]
    return [Timing(*map(float, each)) for each in quartiles]


def peak_memory_of(checkpoint: Path, data: Path, split: str, batch_size: int, cpu: bool) -> Optional[int]:
    """Return the peak bytes of weights and inference in batches, measured in a process of its own.

    On a GPU, of its tensors. On a CPU, of the resident set, above that before the model is built; None if the system is
    not Linux, or forbids the measurement.
    """
    if (cpu or not torch.cuda.is_available()) and not sys.platform.startswith("linux"):
        return None
    given = (str(checkpoint), data, split, batch_size, cpu, torch.get_num_threads())
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_peak, *given).result()


def _peak(checkpoint: str, data: Path, split: str, batch_size: int, cpu: bool, threads: int) -> Optional[int]:
    logging.disable(logging.INFO)
    torch.set_num_threads(threads)
    before = _memory("VmRSS")
    model = LoadedModel.read(checkpoint, data)
    on = device(cpu)
    runner, dataset = _Runner(model, on), model.dataset(split)
    batch = dataset.collater([dataset[row] for row in dataset.sizes.argsort()[-batch_size:].tolist()])
    del model
    gc.collect()
    if on.type == "cpu":
        # The largest resident set so far is that of reading the checkpoint; 5 sets it to the current one.
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:  # forbidden in some containers
            return None
    for _ in range(2):
        runner.run(batch["net_input"])
    if on.type == "cuda":
        return torch.cuda.max_memory_allocated(on)
    return _memory("VmHWM") - before


def _memory(name: str) -> int:
    """Return the bytes of the current (VmRSS) or the largest (VmHWM) resident set of this process; 0 outside Linux."""
    if not sys.platform.startswith("linux"):
        return 0
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))
