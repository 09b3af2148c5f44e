from dataclasses import replace
from pathlib import Path

import pytest

from launcher.datasets import Data
from launcher.execution.command import predict_command, train_command, train_flags, uses_cache
from launcher.planning.job import Job

DATA = Data(Path("data/MRPC-bin"), 3668, "accuracy", ("valid", "valid1"), "d")
SECOND = {"stage": "second", "after": "F"}
LABELS = {"method": "none", "mapping": ""}


@pytest.fixture
def job(spec):
    """Return a function that makes the job of `spec` with some of its fields changed."""

    def job(cpu: bool = True, cache: Path | None = None, **changes) -> Job:
        changed = replace(spec, **changes)
        teacher, folder = Path("t/model.pt"), Path("runs/g") / changed.name
        start = Path("runs/g/F/checkpoint_best.pt") if changed.after else teacher
        return Job(changed, folder, DATA, "fairseq-train", cpu, start, teacher, cache)

    return job


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({}, {"--criterion": "att_kl_learn", "--mapping": "0:0,1:4", "--teacher": "t/model.pt"}),
        ({}, {"--init-from": "t/model.pt", "--init-layers": "0,1,2", "--encoder-layers": None, "--hard-weight": None}),
        ({}, {"--best-checkpoint-metric": "accuracy", "--maximize-best-checkpoint-metric": True, "--cpu": True}),
        ({}, {"--adam-betas": "(0.9, 0.98)", "--adam-eps": "1e-6", "--weight-decay": "0.1", "--clip-norm": "0.0"}),
        ({}, {"--batch-size": "16", "--lr": "1e-05", "--warmup-updates": "137", "--total-num-update": "2296"}),
        ({}, {"--max-epoch": "10", "--seed": "1", "--valid-subset": "valid,valid1", "--no-epoch-checkpoints": True}),
        ({"overrides": {"--clip-norm": "1"}}, {"--clip-norm": "1"}),
        ({"stage": "first"}, {"--criterion": "att_kl_learn", "--best-checkpoint-metric": "loss"}),
        ({"stage": "first"}, {"--maximize-best-checkpoint-metric": None}),
        ({"stage": "first", "overrides": {"--hard-weight": "2"}}, {"--hard-weight": "0", "--soft-weight": "0"}),
        (SECOND, {"--criterion": "kd", "--mapping": None, "--init-layers": "all"}),
        (SECOND | {"overrides": {"--init-from": "x"}}, {"--init-from": "runs/g/F/checkpoint_best.pt"}),
        (SECOND | {"init": "random:3"}, {"--init-layers": "all", "--encoder-layers": None}),
        ({"init": "random:3"}, {"--init-layers": "random", "--encoder-layers": "3"}),
        (LABELS, {"--criterion": "kd", "--hard-weight": "1", "--soft-weight": "0", "--teacher": None}),
        ({"cpu": False}, {"--cpu": None}),
    ],
)  # fmt: skip
def test_a_spec_becomes_these_flags(job, changes, flags):
    found = train_flags(job(**changes))
    assert {flag: found.get(flag) for flag in flags} == flags


def test_several_processes_divide_the_batch_through_torchrun(job):
    several = replace(job(), processes=4)
    command = train_command(several)
    assert " ".join(command[1:7]) == "-m torch.distributed.run --standalone --nproc-per-node 4 fairseq-train"
    flags = train_flags(several)
    expected = {"--batch-size": "4", "--distributed-backend": "gloo", "--ddp-backend": "legacy_ddp"}
    assert {flag: flags[flag] for flag in expected} == expected
    assert "--distributed-backend" not in train_flags(replace(several, cpu=False))


def test_only_a_run_that_needs_its_teacher_has_a_cache(job):
    cache, labels = Path("caches/MRPC"), {"--soft-weight": "0"}
    flags = train_flags(job(cache=cache))
    assert list(flags).index("--teacher-cache") == list(flags).index("--teacher") + 1
    assert flags["--teacher-cache"] == "caches/MRPC"
    assert uses_cache(job(cache=cache, stage="first", overrides=labels))
    assert uses_cache(job(cache=cache, **SECOND))
    assert not uses_cache(job(cache=cache, **SECOND, overrides=labels))
    assert not uses_cache(job(cache=cache, **LABELS))
    assert "--teacher-cache" not in train_flags(job(cache=cache, **LABELS))


def test_predictions_are_made_of_every_dev_set_at_the_best_checkpoint(spec, trainer):
    words = predict_command(Job(spec, Path("runs/g/R"), DATA, str(trainer), True, Path("t.pt")))
    assert words[0] == str(trainer.parent / "python")
    assert Path(words[1]).parts[-2:] == ("scripts", "predict.py")
    assert " ".join(words[2:]) == (
        "--checkpoint runs/g/R/checkpoint_best.pt --data data/MRPC-bin --split valid,valid1 --cpu"
    )
