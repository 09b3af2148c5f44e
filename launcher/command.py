"""The fairseq-train command of a run, as a list of arguments."""

import os
from pathlib import Path

from .methods import NO_TEACHER
from .places import PLUGIN, Data
from .spec import FIRST, SECOND, RunSpec

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
    spec: RunSpec, trainer: str, data: Data, teacher: Path, group: Path, cpu: bool
) -> list[str]:
    """What trains the run `spec` into its folder below `group`.

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
        "--save-dir": group / spec.name,
    }
    return [
        *(trainer, str(data.folder), "--user-dir", str(PLUGIN), "--task", "sentence_prediction_kd"),
        *(*_student(spec, teacher), *_criterion(spec, teacher)),
        *RECIPE,
        *(text for flag, value in schedule.items() for text in (flag, str(value))),
        *(*_best(spec, data.metric), *REPORTING),
        *(("--cpu",) if cpu else ()),
        *spec.flags,
        *_stage(spec, group),
    ]


def _student(spec: RunSpec, teacher: Path) -> list[str]:
    student = ["--arch", "roberta_student"]
    if spec.stage == SECOND:
        return student

    # A random student takes its width from the teacher, and would take its depth from there too.
    layers, _, count = spec.init.partition(":")
    depth = ["--encoder-layers", count] if count else []
    return [*student, "--init-from", str(teacher), "--init-layers", layers, *depth]


def _criterion(spec: RunSpec, teacher: Path) -> list[str]:
    if spec.method == NO_TEACHER:
        return ["--criterion", "kd"]
    with_teacher = ["--teacher", str(teacher), "--criterion"]
    if spec.stage == SECOND:
        return [*with_teacher, "kd"]
    return [*with_teacher, spec.method, *(("--mapping", spec.mapping) if spec.mapping else ())]


def _stage(spec: RunSpec, group: Path) -> list[str]:
    if spec.method == NO_TEACHER:
        return ["--hard-weight", "1", "--soft-weight", "0"]
    if spec.stage == FIRST:
        return ["--hard-weight", "0", "--soft-weight", "0"]
    if spec.stage == SECOND:
        return ["--init-from", str(group / spec.after / "checkpoint_best.pt"), "--init-layers", "all"]
    return []


def _best(spec: RunSpec, metric: str) -> list[str]:
    # A first stage trains no classifier: the best it can be judged by is its loss.
    if best_metric(spec, metric) == "loss":
        return ["--best-checkpoint-metric", "loss"]
    return ["--best-checkpoint-metric", metric, "--maximize-best-checkpoint-metric"]


def best_metric(spec: RunSpec, metric: str) -> str:
    """What the run's best checkpoint is chosen by."""
    return "loss" if spec.stage == FIRST else metric


def environment(cpu: bool, jobs: int, gpu: str | None) -> dict[str, str]:
    """Variables a run is started with; what the user has set stays, but for the GPU of its slot."""
    added: dict[str, str] = {}
    if cpu:
        added |= HUGE_PAGES
        if jobs > 1:
            added["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // jobs))
    missing = {name: value for name, value in added.items() if name not in os.environ}
    return missing if gpu is None else missing | {"CUDA_VISIBLE_DEVICES": gpu}
