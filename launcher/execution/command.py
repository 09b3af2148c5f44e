"""Renders jobs as command lines: of fairseq-train, and of `scripts/predict.py`."""

import shlex
from collections.abc import Sequence

from ..methods import LOGITS, NO_TEACHER
from ..models import BEST
from ..overrides import Overrides, as_words, is_zero
from ..planning.job import Job
from ..planning.run_spec import FIRST, SECOND
from ..plugin import PLUGIN, ROOT, find_python
from .slots import Slot

# fairseq's published recipe for fine-tuning RoBERTa on GLUE.
RECIPE: Overrides = {
    "--optimizer": "adamw_fused",
    "--adam-betas": "(0.9, 0.98)",
    "--adam-eps": "1e-6",
    "--weight-decay": "0.1",
    "--clip-norm": "0.0",
    "--dropout": "0.1",
    "--attention-dropout": "0.1",
    "--lr-scheduler": "polynomial_decay",
}

CACHE = "--teacher-cache"

# checkpoint_last.pt is kept: an interrupted run resumes from it.
REPORTING: Overrides = {"--no-epoch-checkpoints": True, "--no-progress-bar": True, "--log-format": "json"}


def train_command(job: Job) -> list[str]:
    """Return the command line of fairseq-train for a job, through torchrun if it has several processes."""
    torchrun = [find_python(job.trainer), "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    several = [*torchrun, str(job.processes)] if job.processes > 1 else []
    return [*several, job.trainer, *train_arguments(job)]


def train_arguments(job: Job) -> list[str]:
    """Return the arguments of fairseq-train for a job."""
    return [str(job.data.folder), *as_words(train_flags(job))]


def train_flags(job: Job) -> Overrides:
    """Return the flags of fairseq-train for a job.

    The user's flags win over the recipe, and those of the stage over the user's: `--hard-weight 0.3` has no effect in a
    first stage.
    """
    spec, data = job.spec, job.data
    second = spec.stage == SECOND
    return {
        "--user-dir": str(PLUGIN),
        "--task": "sentence_prediction_kd",
        "--arch": "roberta_student",
        **({} if second else _initial_weights(job)),
        **_teacher(job),
        "--criterion": spec.criterion,
        **({"--mapping": spec.mapping} if spec.mapping and not second else {}),
        **RECIPE,
        "--batch-size": str(spec.batch_size // job.processes),
        "--lr": str(spec.lr),
        "--warmup-updates": str(spec.warmup),
        "--total-num-update": str(spec.updates),
        "--max-epoch": str(spec.epochs),
        "--seed": str(spec.seed),
        "--valid-subset": ",".join(data.subsets),
        "--save-dir": str(job.folder),
        "--best-checkpoint-metric": job.metric,
        **({"--maximize-best-checkpoint-metric": True} if job.metric != "loss" else {}),
        **REPORTING,
        **job.trackers,
        **({"--cpu": True} if job.cpu else {}),
        **({"--ddp-backend": "legacy_ddp"} if job.processes > 1 else {}),
        **({"--distributed-backend": "gloo"} if job.processes > 1 and job.cpu else {}),
        **spec.overrides,
        **_weights(job),
        **(_initial_weights(job) if second else {}),
    }


def _initial_weights(job: Job) -> Overrides:
    # A random student has the width of `start`; without --encoder-layers it would have its depth too.
    spec = job.spec
    given = spec.layers if spec.start or spec.after else spec.init
    layers, _, count = given.partition(":")
    depth: Overrides = {"--encoder-layers": count} if count else {}
    return {"--init-from": str(job.start), "--init-layers": layers, **depth}


def _teacher(job: Job) -> Overrides:
    if job.teacher is None or job.spec.method == NO_TEACHER:
        return {}
    cache = {CACHE: str(job.cache)} if uses_cache(job) else {}
    return {"--teacher": str(job.teacher), **cache}


def uses_cache(job: Job) -> bool:
    """Return whether the run has a teacher cache, and a loss term that needs the teacher."""
    return job.cache is not None and learns_from_teacher(job)


def learns_from_teacher(job: Job) -> bool:
    """Return whether the run has a loss term that needs the teacher."""
    if job.teacher is None or job.spec.method == NO_TEACHER:
        return False
    return job.spec.criterion != LOGITS or not is_zero(job.spec.overrides.get("--soft-weight"))


def _weights(job: Job) -> Overrides:
    """Return the weights of labels and logits that a stage sets itself."""
    if job.spec.method == NO_TEACHER:
        return {"--hard-weight": "1", "--soft-weight": "0"}
    if job.spec.stage == FIRST:
        return {"--hard-weight": "0", "--soft-weight": "0"}
    return {}


def predict_command(job: Job) -> list[str]:
    """Return the command line that saves the predictions of a job's best checkpoint on every dev set."""
    flags: Overrides = {
        "--checkpoint": str(job.folder / BEST),
        "--data": str(job.data.folder),
        "--split": ",".join(job.data.subsets),
        **({"--cpu": True} if job.cpu else {}),
    }
    return [find_python(job.trainer), str(ROOT / "scripts" / "predict.py"), *as_words(flags)]


def shell_line(command: Sequence[str], slot: Slot) -> str:
    """Return a command as a line for a shell, with the environment variables of the slot."""
    variables = [f"{name}={shlex.quote(value)}" for name, value in slot.environment().items()]
    return " ".join([*variables, shlex.join(command)])
