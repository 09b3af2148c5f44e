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
from typing import Optional

import numpy as np
import torch

from ..data.sentences import SentenceDataset
from ..models.shape import SENTENCE_ENCODER
from .inference import Inference
from .loaded_model import LoadedModel, device

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


def size_of(inference: Inference) -> Size:
    """Return the size of the model for inference: encoder and classification head, without a masked-LM head."""
    weights = dict(inference.model.named_parameters())
    sizes = {name: weight.numel() for name, weight in weights.items()}
    embeddings = sum(size for name, size in sizes.items() if name.startswith(f"{SENTENCE_ENCODER}embed"))
    stored = sum(weight.numel() * weight.element_size() for weight in weights.values())
    return Size(sum(sizes.values()), embeddings, stored)


def time_in_turns(
    models: Sequence[Inference],
    datasets: Sequence[SentenceDataset],
    batch_size: int,
    rounds: int,
    seed: int = 1,
) -> list[Timing]:
    """Return the time per batch of each model. In every round, all models compute the same batch, one after the other.

    So that other load on the machine affects all of them alike.

    datasets    for each model, the same sentences, which are used in random batches
    batch_size  sentences per batch
    rounds      number of measured batches
    """
    random = np.random.default_rng(seed)
    seconds: list[list[float]] = [[] for _ in models]
    for number in range(WARM_UP + rounds):
        rows = random.integers(len(datasets[0]), size=batch_size)
        for model, dataset, measured in zip(models, datasets, seconds, strict=True):
            batch = dataset.collater([dataset[int(row)] for row in rows])["net_input"]
            began = time.perf_counter()
            model.logits(batch)
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
    before = memory_of_process("VmRSS")
    model = LoadedModel.read(checkpoint, data)
    on = device(cpu)
    inference, dataset = model.inference(on), model.dataset(split)
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
        inference.logits(batch["net_input"])
    if on.type == "cuda":
        return torch.cuda.max_memory_allocated(on)
    return memory_of_process("VmHWM") - before


def memory_of_process(name: str) -> int:
    """Return the bytes of the current (VmRSS) or the largest (VmHWM) resident set of this process; 0 outside Linux."""
    if not sys.platform.startswith("linux"):
        return 0
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))
