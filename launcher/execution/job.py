"""A run with all that training it takes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..datasets import Data
from ..models import BEST
from ..paths import find_python
from ..planning.run_spec import FIRST, RunSpec
from ..planning.schedule import update_freqs
from .command import best_metric, predict_command, train_command

BATCH_SIZE_MULTIPLE = 8  # fairseq's default of --required-batch-size-multiple


@dataclass(frozen=True)
class Job:
    """A run, and the commands that make it.

    folder      where it goes
    command     trains it
    metric      what its best checkpoint is chosen by
    updates     how many there will be
    after       names of the jobs it starts from: its first stage, its teacher
    predict     saves the predictions of its best checkpoint; empty for a run without a classifier
    subsets     the splits that are predicted
    dictionary  of the data, to be kept beside a teacher's checkpoint
    models      the checkpoints that it was planned with, and their fingerprints: none that another job makes
    keeps_last  whether checkpoint_last.pt stays after training, because a second stage starts from it
    """

    spec: RunSpec
    folder: Path
    command: tuple[str, ...]
    metric: str
    updates: int
    after: tuple[str, ...] = ()
    predict: tuple[str, ...] = ()
    subsets: tuple[str, ...] = ()
    dictionary: Path | None = None
    models: tuple[tuple[Path, str], ...] = ()
    keeps_last: bool = False

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def lacks_predictions(self) -> bool:
        """Whether predictions are missing that can still be made."""
        made = [self.folder / "predictions" / f"{subset}.npz" for subset in self.subsets]
        return (
            bool(self.predict) and (self.folder / BEST).is_file() and not all(path.is_file() for path in made)
        )

    def role(self, name: str) -> str:
        """What the job of that name is to this one."""
        return "its first stage" if name == self.spec.after else "its teacher"


def make_job(
    spec: RunSpec,
    folder: Path,
    data: Data,
    trainer: str,
    cpu: bool,
    *,
    start: Path,
    teacher: Path | None = None,
    cache: Path | None = None,
    after: Sequence[str] = (),
    keep_dictionary: bool = False,
    keeps_last: bool = False,
) -> Job:
    """The job of the run `spec` in `folder`; see `command.train_command` and `Job`."""
    # A first stage trains no classifier, so it has nothing to predict with.
    predicts = spec.stage != FIRST
    return Job(
        spec,
        folder,
        tuple(train_command(spec, trainer, data, folder, teacher, start, cpu, cache)),
        best_metric(spec, data.metric),
        planned_updates(spec, data.sentences),
        tuple(after),
        tuple(predict_command(find_python(trainer), data, folder, cpu)) if predicts else (),
        data.subsets,
        data.folder / "input0" / "dict.txt" if keep_dictionary else None,
        _models(spec, start, teacher, after),
        keeps_last,
    )


def _models(
    spec: RunSpec, start: Path, teacher: Path | None, after: Sequence[str]
) -> tuple[tuple[Path, str], ...]:
    # Of a teacher that is another job's, the spec has no fingerprint.
    of_teacher = spec.teacher if set(after) <= {spec.after} else ""
    # Without a teacher, its place in the spec has what the run starts from, unless that is named apart.
    origin = start if teacher is None and not spec.start else teacher
    named = ((origin, of_teacher), (start, spec.start))
    return tuple((path, fingerprint) for path, fingerprint in named if path is not None and fingerprint)


def planned_updates(spec: RunSpec, sentences: int) -> int:
    """Updates of a whole run on that many training sentences: what its flags say, not its schedule."""
    multiple = int(_last(spec.flags, "--required-batch-size-multiple", str(BATCH_SIZE_MULTIPLE)))
    batches = batches_of_an_epoch(sentences, spec.batch_size, max(1, multiple))
    updates = sum(math.ceil(batches / freq) for freq in update_freqs(spec.flags, spec.epochs))
    return min(updates, int(_last(spec.flags, "--max-update", "0")) or updates)


def batches_of_an_epoch(sentences: int, batch_size: int, multiple: int) -> int:
    """Number of batches that fairseq makes of the sentences.

    fairseq cuts each batch, the last one too, to a multiple of `multiple` sentences, unless it is smaller than that.
    """
    if batch_size > multiple:
        batch_size -= batch_size % multiple
    full, rest = divmod(sentences, batch_size)
    return full + (rest >= multiple) + (rest % multiple > 0)


def _last(flags: Sequence[str], name: str, otherwise: str) -> str:
    """The value a flag is given last, as one whole number."""
    given = [*flags, ""]
    values = [word.partition("=")[2] or after for word, after in zip(given, given[1:], strict=False)
              if word.partition("=")[0] == name]  # fmt: skip
    return values[-1] if values and values[-1].isdecimal() else otherwise
