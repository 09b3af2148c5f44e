"""The published settings of each task, the schedules that follow from them, and its binarized data."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .overrides import Overrides

PUBLISHED_EPOCHS = 10
BATCH_SIZE_MULTIPLE = 8  # fairseq's default of --required-batch-size-multiple
UNLABELLED_SUBSET = "--unlabelled-subset"
FREQUENCIES = re.compile(r"[1-9]\d*(,[1-9]\d*)*")

# Tried for the fine-tuning of pre-trained students: all pairs, of which the best is reported.
FINETUNING_RATES = (1e-5, 3e-5, 5e-5, 8e-5)
FINETUNING_BATCH_SIZES = (16, 32)


@dataclass(frozen=True)
class TaskSettings:
    """Batch size, learning rate and schedule of a task.

    sentences        training sentences of the full data set
    updates, warmup  over ten epochs of them
    published        False for a task of the user, whose updates are counted
    """

    name: str
    sentences: int
    batch_size: int
    lr: float
    updates: int
    warmup: int
    published: bool = True

    def schedule(self, epochs: int, batch_size: float, sentences: int) -> tuple[int, int]:
        """Return (total updates, warm-up updates), scaled from the published ones.

        Scaled, not counted, because the published totals are not always ten epochs long: that
        of RTE is 1.3 times as many, so its learning rate never reaches zero.
        """
        if not self.published:
            # In small data, the last batches of each epoch count, which are smaller.
            updates = epochs * batches_of_an_epoch(sentences, math.ceil(batch_size), BATCH_SIZE_MULTIPLE)
            return updates, round(OWN_WARMUP * updates)
        share = epochs / PUBLISHED_EPOCHS * sentences / self.sentences * self.batch_size / batch_size
        return max(1, round(self.updates * share)), round(self.warmup * share)


def batches_of_an_epoch(sentences: int, batch_size: int, multiple: int) -> int:
    """Return the number of batches that fairseq makes of the sentences.

    fairseq cuts each batch, the last one too, to a multiple of `multiple` sentences, unless it is smaller than that.
    """
    if batch_size > multiple:
        batch_size -= batch_size % multiple
    full, rest = divmod(sentences, batch_size)
    return full + (rest >= multiple) + (rest % multiple > 0)


# From Wang et al., How to Distill your BERT, ACL 2023. STS-B: from fairseq's RoBERTa recipe for GLUE.
# For WNLI and SNLI nothing is published: they have the rates of RTE and MNLI, and 6 % warm-up.
TASKS = {
    settings.name: settings
    for settings in (
        TaskSettings("CoLA", 8551, 16, 1e-5, 5336, 320),
        TaskSettings("SST-2", 67349, 32, 1e-5, 20935, 1256),
        TaskSettings("MRPC", 3668, 16, 1e-5, 2296, 137),
        TaskSettings("QQP", 363849, 32, 1e-5, 113272, 28318),
        TaskSettings("STS-B", 5749, 16, 2e-5, 3598, 214),
        TaskSettings("MNLI", 392702, 32, 1e-5, 123873, 7432),
        TaskSettings("QNLI", 104743, 32, 1e-5, 33112, 1986),
        TaskSettings("RTE", 2490, 16, 2e-5, 2036, 122),
        TaskSettings("WNLI", 635, 16, 2e-5, 397, 24),
        TaskSettings("SNLI", 549367, 32, 1e-5, 171677, 10301),
    )
}


# Of a task of the user, unless its meta.json has `settings`: fairseq's RoBERTa recipe for GLUE, with 6 % warm-up.
OWN_BATCH_SIZE, OWN_RATE, OWN_WARMUP = 32, 2e-5, 0.06
OWN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def task_name(name: str) -> str:
    """Return the name of a task as its data has it: GLUE's spelling, ignoring case and hyphens, or a task of the user.

    Raises ValueError if it cannot be the name of a task.
    """
    plain = name.replace("-", "").lower()
    known = next((task for task in TASKS if task.replace("-", "").lower() == plain), None)
    if known is None and not OWN_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a task: choose among {', '.join(TASKS)}")
    return known or name


def update_freqs(overrides: Overrides, epochs: int) -> list[int]:
    """Return the batches per update of each epoch, from --update-freq; its last number holds for the remaining epochs.

    Raises ValueError if the value is invalid.
    """
    given = overrides.get("--update-freq", "1")
    plain = str(given).replace(" ", "").strip("[]()").rstrip(",")
    if not FREQUENCIES.fullmatch(plain):
        raise ValueError(
            f"the flags after -- contain --update-freq {given}, which is no number of batches from 1, nor a list of them "
            "such as 4,2: correct it"
        )
    numbers = [int(number) for number in plain.split(",")]
    return [numbers[min(epoch, len(numbers) - 1)] for epoch in range(epochs)]


def scheduled(
    settings: TaskSettings, epochs: int, batch_size: int, sentences: int, overrides: Overrides | None = None
) -> dict[str, Any]:
    """Return `epochs`, `updates` and `warmup` of a run, scaled to the sentences per update (see TaskSettings.schedule).

    The user's --total-num-update and --warmup-updates win over the returned numbers, which then ignore --update-freq.
    """
    overrides = overrides or {}
    each_update = settings.schedule(epochs, batch_size, sentences)
    freqs = update_freqs(overrides, epochs)
    gathered = epochs / sum(1 / freq for freq in freqs)  # mean number of batches per update
    updates, warmup = settings.schedule(epochs, batch_size * gathered, sentences)
    return {
        "epochs": epochs,
        "updates": each_update[0] if "--total-num-update" in overrides else updates,
        "warmup": each_update[1] if "--warmup-updates" in overrides else warmup,
    }


@dataclass(frozen=True)
class Data:
    """A folder of binarized data.

    sentences    training sentences
    metric       selects the best checkpoint
    subsets      the splits to validate on; the first selects the best checkpoint
    fingerprint  the same for the same data in any folder
    longest      maximum length of inputs, in tokens; None if unknown
    regression   whether labels are numbers
    splits       sentences by split
    own          settings of a task of the user; None for a task in TASKS
    added        records of the splits that preprocess.augment made
    """

    folder: Path
    sentences: int
    metric: str
    subsets: tuple[str, ...]
    fingerprint: str
    longest: int | None = None
    regression: bool = False
    splits: Mapping[str, int] = field(default_factory=dict)
    own: TaskSettings | None = None
    added: Mapping[str, Any] = field(default_factory=dict)

    def training_sentences(self, overrides: Overrides) -> int:
        """Return the sentences of an epoch: the labelled ones, and those of --unlabelled-subset."""
        unlabelled = str(overrides.get(UNLABELLED_SUBSET) or "")
        return self.sentences + sum(self.splits.get(name, 0) for name in unlabelled.split(",") if name)

    def identity(self, overrides: Overrides) -> str:
        """Return the fingerprint of the data and of the splits of --unlabelled-subset that were added to it later."""
        names = str(overrides.get(UNLABELLED_SUBSET) or "").split(",")
        added = {name: self.added[name] for name in names if name in self.added}
        if not added:
            return self.fingerprint
        return hashlib.sha256(json.dumps([self.fingerprint, added], sort_keys=True).encode()).hexdigest()


def settings_of(task: str, data: Data) -> TaskSettings:
    """Return the settings of a task: the published ones, or those of the user's own data."""
    return data.own or TASKS[task]


def meta_file(data: Path, task: str) -> Path:
    """Return the path of meta.json of a task, in `data` or below."""
    own = data / "meta.json"
    return own if own.is_file() else data / f"{task}-bin" / "meta.json"


def has_data(data: Path, task: str) -> bool:
    """Return whether the data of a task exists."""
    return meta_file(data, task).is_file()


def find_data(data: Path, task: str) -> Data:
    """Return the data of a task, in `data` or below; raise ValueError if it is missing or invalid."""
    path, known = meta_file(data, task), ", ".join(TASKS)
    if not path.is_file():
        raise ValueError(
            f"--data {data} has no data of {task} ({path} is missing): give the folder that "
            f"`{command_for(task)} --out {data}` makes{'' if task in TASKS else f', or correct the name: {known}'}"
        )

    try:
        text = path.read_text("utf-8")
        meta = json.loads(text)
        found, splits, metric = meta["task"], meta["splits"], meta["metric"]
        sentences = splits["train"]["sentences"]
        sizes = {name: split.get("sentences", 0) for name, split in splits.items()}
        own = None if task in TASKS else _own_settings(task, sentences, meta.get("settings") or {})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is invalid ({type(error).__name__}: {error}): make the data again"
        ) from None
    if found != task:
        raise ValueError(
            f"--data {data} contains {found}, not {task}: give the folder above it, or --task {found.lower()}"
        )

    subsets = tuple(sorted(name for name in splits if name.startswith("valid")))
    fingerprint = meta.get("made_from") or hashlib.sha256(text.encode()).hexdigest()
    return Data(
        path.parent,
        sentences,
        metric,
        subsets,
        fingerprint,
        meta.get("max_positions"),
        bool(meta.get("regression")),
        sizes,
        own,
        {name: split["augmented"] for name, split in splits.items() if "augmented" in split},
    )


def command_for(task: str) -> str:
    """Return the command that makes the data of a task, without the flags of its files."""
    return (
        f"python -m preprocess.glue --tasks {task}"
        if task in TASKS
        else f"python -m preprocess.custom --name {task}"
    )


def _own_settings(task: str, sentences: int, given: Mapping[str, Any]) -> TaskSettings:
    """Return the settings of a task of the user: its task file's, or our defaults."""
    batch_size, lr = int(given.get("batch_size", OWN_BATCH_SIZE)), float(given.get("lr", OWN_RATE))
    return TaskSettings(task, sentences, batch_size, lr, updates=0, warmup=0, published=False)
