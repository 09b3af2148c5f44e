from dataclasses import replace
from pathlib import Path

import pytest

from launcher.datasets import Data
from launcher.execution.command import environment, predict_command, train_command
from launcher.execution.devices import Slot
from launcher.planning.job import Job
from launcher.planning.run_spec import RunSpec

DATA = Data(Path("data/MRPC-bin"), 3668, "accuracy", ("valid", "valid1"), "d")


@pytest.fixture
def command(spec):
    """The flags of `spec` with some of its fields changed, as one text."""

    def flags(cpu: bool = True, **changes) -> str:
        changed = replace(spec, **changes)
        teacher, folder = Path("t/model.pt"), Path("runs/g") / changed.name
        start = Path("runs/g/F/checkpoint_best.pt") if changed.after else teacher
        job = Job(changed, folder, DATA, "fairseq-train", cpu, start, teacher)
        words = train_command(job)
        return " ".join(words) + " "

    return flags


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"stage": "one"}, "--criterion att_kl_learn --mapping 0:0,1:4 --optimizer"),
        (
            {"stage": "first"},
            "--criterion att_kl_learn --mapping 0:0,1:4 --optimizer",
        ),
        ({"stage": "first"}, "--best-checkpoint-metric loss --no-epoch"),
        (
            {"stage": "first", "flags": ("--hard-weight", "2")},
            " --hard-weight 2 --hard-weight 0 --soft-weight 0 ",
        ),
        (
            {"stage": "second", "after": "F"},
            " --cpu --init-from runs/g/F/checkpoint_best.pt --init-layers all ",
        ),
        ({"stage": "second", "after": "F"}, "--teacher t/model.pt --criterion kd --optimizer"),
        ({"init": "random:3"}, "--init-from t/model.pt --init-layers random --encoder-layers 3 --teacher"),
        (
            {"stage": "second", "after": "F", "init": "random:3"},
            "--arch roberta_student --teacher t/model.pt --criterion kd",
        ),
        ({"method": "kd", "mapping": ""}, "--criterion kd --optimizer"),
        (
            {"method": "none", "mapping": ""},
            "--init-from t/model.pt --init-layers 0,1,2 --criterion kd --optimizer",
        ),
        (
            {"method": "none", "mapping": "", "flags": ("--bf16",)},
            "--cpu --bf16 --hard-weight 1 --soft-weight 0 ",
        ),
        ({}, "--best-checkpoint-metric accuracy --maximize-best-checkpoint-metric "),
        ({}, "--adam-betas (0.9, 0.98) --adam-eps 1e-6 --weight-decay 0.1 --clip-norm 0.0 "),
        (
            {},
            "--batch-size 16 --lr 1e-05 --warmup-updates 137 --total-num-update 2296 --max-epoch 10 --seed 1 ",
        ),
        ({}, "--valid-subset valid,valid1 --save-dir runs/g/MRPC-att_kl_learn-"),
        ({"flags": ("--clip-norm", "1")}, " --cpu --clip-norm 1 "),
    ],
)
def test_a_spec_becomes_these_flags(command, changes, part):
    assert part in command(**changes)


def test_no_teacher_is_loaded_for_a_student_without_one(command):
    assert "--teacher" not in command(method="none", mapping="")


def test_a_stage_that_asks_its_teacher_nothing_has_no_cache(spec):
    job = Job(spec, Path("r"), DATA, "t", True, Path("t.pt"), Path("t.pt"), cache=Path("c"))

    def cached(**changes) -> bool:
        return "--teacher-cache" in train_command(replace(job, spec=replace(spec, **changes)))

    labels = ("--soft-weight", "0")
    assert cached(stage="first", flags=labels)
    assert cached(stage="second", after="a")
    assert not cached(stage="second", after="a", flags=labels)
    assert cached(stage="second", after="a", flags=("--soft-weight=0", "--soft-weight", "0.5"))


def test_a_cache_stands_beside_the_teacher(spec):
    job = Job(spec, Path("r"), DATA, "t", True, Path("t.pt"), Path("t.pt"), cache=Path("caches/MRPC"))
    words = train_command(job)
    assert "--teacher t.pt --teacher-cache caches/MRPC --criterion" in " ".join(words)
    alone = replace(spec, method="none", mapping="")
    assert "--teacher-cache" not in train_command(replace(job, spec=alone))


def test_nothing_says_cpu_on_a_gpu(command):
    assert "--cpu" not in command(cpu=False)


def test_a_model_of_the_users_is_taken_whole():
    model = Path("mine/model.pt")
    spec = RunSpec("MRPC", "none", "mine", "", "one", 1, 1, 16, 1e-5, 10, 1, "d", "", start="f")
    job = Job(spec, Path("r"), DATA, "fairseq-train", True, model)
    words = " ".join(train_command(job))
    assert "--init-from mine/model.pt --init-layers all --criterion kd --optimizer" in words
    assert "--teacher" not in words

    spec = replace(spec, method="kd", stage="second", teacher="t")
    words = " ".join(train_command(replace(job, spec=spec, teacher=Path("t.pt"))))
    assert "--arch roberta_student --teacher t.pt --criterion kd --optimizer" in words
    assert words.endswith(" --cpu --init-from mine/model.pt --init-layers all")


def test_predictions_are_made_of_every_dev_set_at_the_best_checkpoint(spec, trainer):
    words = predict_command(Job(spec, Path("runs/g/R"), DATA, str(trainer), True, Path("t.pt")))
    assert words[0] == str(trainer.parent / "python")
    assert Path(words[1]).parts[-2:] == ("scripts", "predict.py")
    assert " ".join(words[2:]) == (
        "--checkpoint runs/g/R/checkpoint_best.pt --data data/MRPC-bin --split valid,valid1 --cpu"
    )


def test_cpu_runs_get_huge_pages_and_the_threads_of_their_slot(monkeypatch):
    for name in ("GLIBC_TUNABLES", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)

    assert environment(Slot()) == {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    assert environment(Slot(cores=(0, 1), threads=2))["OMP_NUM_THREADS"] == "2"
    assert environment(Slot(gpu="1")) == {"CUDA_VISIBLE_DEVICES": "1"}

    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert "OMP_NUM_THREADS" not in environment(Slot(cores=(0, 1), threads=2))
