"""Renders jobs as command lines: of fairseq-train, and of `scripts/predict.py`."""

import os

from ..methods import LOGITS, NO_TEACHER
from ..models import BEST
from ..overrides import gives_zero
from ..paths import PLUGIN, ROOT, find_python
from ..planning.job import Job
from ..planning.run_spec import FIRST, SECOND
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


def train_command(job: Job) -> list[str]:
    """Return the command line of fairseq-train for a job.

    The flags of the stage follow the user's flags and win over them: the user's `--hard-weight 0.3` has no
    effect in a first stage.
    """
    spec, data = job.spec, job.data
    schedule = {
        "--batch-size": spec.batch_size,
        "--lr": spec.lr,
        "--warmup-updates": spec.warmup,
        "--total-num-update": spec.updates,
        "--max-epoch": spec.epochs,
        "--seed": spec.seed,
        "--valid-subset": ",".join(data.subsets),
        "--save-dir": job.folder,
    }
    return [
        *(job.trainer, str(data.folder), "--user-dir", str(PLUGIN), "--task", "sentence_prediction_kd"),
        *(*_student(job), *_criterion(job)),
        *RECIPE,
        *(text for flag, value in schedule.items() for text in (flag, str(value))),
        *("--best-checkpoint-metric", job.metric),
        *(("--maximize-best-checkpoint-metric",) if job.metric != "loss" else ()),
        *REPORTING,
        *(("--cpu",) if job.cpu else ()),
        *spec.flags,
        *_stage(job),
    ]


def _student(job: Job) -> list[str]:
    student = ["--arch", "roberta_student"]
    return student if job.spec.stage == SECOND else [*student, *_origin(job)]


def _origin(job: Job) -> list[str]:
    # A random student has the width of `start`; without --encoder-layers it would have its depth too.
    spec = job.spec
    given = spec.layers if spec.start or spec.after else spec.init
    layers, _, count = given.partition(":")
    depth = ["--encoder-layers", count] if count else []
    return ["--init-from", str(job.start), "--init-layers", layers, *depth]


def _criterion(job: Job) -> list[str]:
    spec = job.spec
    named = ["--criterion", spec.criterion]
    mapped = ["--mapping", spec.mapping] if spec.mapping and spec.stage != SECOND else []
    if job.teacher is None or spec.method == NO_TEACHER:
        return [*named, *mapped]
    stored = ["--teacher-cache", str(job.cache)] if uses_cache(job) else []
    return ["--teacher", str(job.teacher), *stored, *named, *mapped]


def uses_cache(job: Job) -> bool:
    """Return whether the run has a teacher cache, and a loss term that needs the teacher."""
    if job.cache is None or job.teacher is None or job.spec.method == NO_TEACHER:
        return False
    return job.spec.criterion != LOGITS or not gives_zero("--soft-weight", job.spec.flags)


def _stage(job: Job) -> list[str]:
    spec = job.spec
    if spec.method == NO_TEACHER:
        return ["--hard-weight", "1", "--soft-weight", "0"]
    if spec.stage == FIRST:
        return ["--hard-weight", "0", "--soft-weight", "0"]
    if spec.stage == SECOND:
        return _origin(job)
    return []


def predict_command(job: Job) -> list[str]:
    """Return the command line that saves the predictions of a job's best checkpoint on every dev set."""
    return [
        *(
            find_python(job.trainer),
            str(ROOT / "scripts" / "predict.py"),
            "--checkpoint",
            str(job.folder / BEST),
        ),
        *("--data", str(job.data.folder), "--split", ",".join(job.data.subsets)),
        *(("--cpu",) if job.cpu else ()),
    ]


def environment(slot: Slot) -> dict[str, str]:
    """Return the environment variables of a run. The user's own values are kept, except CUDA_VISIBLE_DEVICES."""
    if slot.gpu is not None:
        return {"CUDA_VISIBLE_DEVICES": slot.gpu}
    added = dict(HUGE_PAGES)
    if slot.threads is not None:
        added["OMP_NUM_THREADS"] = str(slot.threads)
    return {name: value for name, value in added.items() if name not in os.environ}
