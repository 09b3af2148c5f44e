"""The commands of a run, as lists of arguments: fairseq-train's, and that of its predictions."""

import os
from pathlib import Path

from ..datasets import Data
from ..methods import LOGITS, NO_TEACHER
from ..models import BEST
from ..overrides import value_of
from ..paths import PLUGIN, ROOT
from ..planning.run_spec import FIRST, SECOND, RunSpec
from .devices import Slot

# fairseq's published recipe for fine-tuning RoBERTa on GLUE.
RECIPE = (
    *("--optimizer", "adamw_fused", "--adam-betas", "(0.9, 0.98)", "--adam-eps", "1e-6"),
    *("--weight-decay", "0.1", "--clip-norm", "0.0", "--dropout", "0.1", "--attention-dropout", "0.1"),
    *("--lr-scheduler", "polynomial_decay"),
)

# checkpoint_last.pt is kept: it is what an interrupted run goes on from.
REPORTING = ("--no-epoch-checkpoints", "--no-progress-bar", "--log-format", "json")

# Lets large new tensors live in huge pages: a tenth of a CPU step and more. glibc < 2.35 ignores it.
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def train_command(
    spec: RunSpec,
    trainer: str,
    data: Data,
    folder: Path,
    teacher: Path | None,
    start: Path,
    cpu: bool,
    cache: Path | None = None,
) -> list[str]:
    """What trains the run `spec` into `folder`.

    teacher  what it learns from; None for a method without a teacher
    start    where its weights come from: its teacher, its first stage, or a model of the user's
    cache    where the teacher's signals are stored, if anywhere

    What makes a stage that stage comes after the user's flags, so that `--hard-weight 0.3` weighs
    the labels where there are labels to weigh, and gives none to a first stage.
    """
    schedule = {
        "--batch-size": spec.batch_size,
        "--lr": spec.lr,
        "--warmup-updates": spec.warmup,
        "--total-num-update": spec.updates,
        "--max-epoch": spec.epochs,
        "--seed": spec.seed,
        "--valid-subset": ",".join(data.subsets),
        "--save-dir": folder,
    }
    return [
        *(trainer, str(data.folder), "--user-dir", str(PLUGIN), "--task", "sentence_prediction_kd"),
        *(*_student(spec, start), *_criterion(spec, teacher, cache)),
        *RECIPE,
        *(text for flag, value in schedule.items() for text in (flag, str(value))),
        *(*_best(spec, data.metric), *REPORTING),
        *(("--cpu",) if cpu else ()),
        *spec.flags,
        *_stage(spec, start),
    ]


def _student(spec: RunSpec, start: Path) -> list[str]:
    student = ["--arch", "roberta_student"]
    return student if spec.stage == SECOND else [*student, *_origin(spec, start)]


def _origin(spec: RunSpec, start: Path) -> list[str]:
    # A random student takes its width from the model it is named with, and would take its depth from there too.
    given = spec.layers if spec.start or spec.after else spec.init
    layers, _, count = given.partition(":")
    depth = ["--encoder-layers", count] if count else []
    return ["--init-from", str(start), "--init-layers", layers, *depth]


def _criterion(spec: RunSpec, teacher: Path | None, cache: Path | None) -> list[str]:
    named = ["--criterion", spec.criterion]
    mapped = ["--mapping", spec.mapping] if spec.mapping and spec.stage != SECOND else []
    if teacher is None or spec.method == NO_TEACHER:
        return [*named, *mapped]
    stored = ["--teacher-cache", str(cache)] if cache is not None and _asks_teacher(spec) else []
    return ["--teacher", str(teacher), *stored, *named, *mapped]


def _asks_teacher(spec: RunSpec) -> bool:
    weight = value_of("--soft-weight", spec.flags)
    try:
        return spec.criterion != LOGITS or weight is None or float(weight) != 0
    except ValueError:  # no number: the training says so
        return True


def _stage(spec: RunSpec, start: Path) -> list[str]:
    if spec.method == NO_TEACHER:
        return ["--hard-weight", "1", "--soft-weight", "0"]
    if spec.stage == FIRST:
        return ["--hard-weight", "0", "--soft-weight", "0"]
    if spec.stage == SECOND:
        return _origin(spec, start)
    return []


def _best(spec: RunSpec, metric: str) -> list[str]:
    # A first stage trains no classifier: the best it can be judged by is its loss.
    if best_metric(spec, metric) == "loss":
        return ["--best-checkpoint-metric", "loss"]
    return ["--best-checkpoint-metric", metric, "--maximize-best-checkpoint-metric"]


def best_metric(spec: RunSpec, metric: str) -> str:
    """What the run's best checkpoint is chosen by."""
    return "loss" if spec.stage == FIRST else metric


def predict_command(python: str, data: Data, folder: Path, cpu: bool) -> list[str]:
    """What saves the predictions of the run in `folder` on every dev set."""
    return [
        *(python, str(ROOT / "scripts" / "predict.py"), "--checkpoint", str(folder / BEST)),
        *("--data", str(data.folder), "--split", ",".join(data.subsets)),
        *(("--cpu",) if cpu else ()),
    ]


def environment(slot: Slot) -> dict[str, str]:
    """Variables a run is started with; what the user has set stays, but for the GPU of its slot."""
    if slot.gpu is not None:
        return {"CUDA_VISIBLE_DEVICES": slot.gpu}
    added = dict(HUGE_PAGES)
    if slot.threads is not None:
        added["OMP_NUM_THREADS"] = str(slot.threads)
    return {name: value for name, value in added.items() if name not in os.environ}
