"""The configs of pre-training are accepted and train, the published one on several workers."""

import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.configs.written import written
from tests.tiny import ROOT, SHAPE, run, write_teacher, write_text

FOLDER = ROOT / "configs" / "pretraining"
CONFIGS = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != "base")
PUBLISHED = ("one_gpu", "eight_gpus", "multi_node")


@pytest.mark.parametrize("name", CONFIGS)
def test_every_key_of_a_config_exists(name):
    assert written(FOLDER, name).task._name == "masked_lm_kd"


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_opens_with_the_command_that_runs_it(name):
    comment = (FOLDER / f"{name}.yaml").read_text().split("defaults:")[0]
    command = r"fairseq-hydra-train\)? --config-dir configs/pretraining --config-name "
    assert re.search(rf"^#   .*{command}{name} task\.data=", comment, re.M)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_batch_is_the_published_one(name):
    config = written(FOLDER, name)
    command = (FOLDER / f"{name}.yaml").read_text()
    nodes, workers = (
        int(found[1]) if (found := re.search(rf"--{flag} (\d+)", command)) else 1
        for flag in ("nnodes", "nproc-per-node")
    )
    assert nodes * workers * config.dataset.batch_size * config.optimization.update_freq[0] == 1024
    assert config.optimization.lr == [5e-4]
    assert config.optimizer.adam_betas == "(0.9, 0.98)"
    assert (config.optimizer.weight_decay, config.optimizer.adam_eps) == (0.01, 1e-6)
    assert config.optimizer.no_decay_norm_and_bias
    assert config.lr_scheduler.lr_warmup == 0.06


def test_the_published_time_is_the_same_on_more_machines():
    hours = {
        name: yaml.safe_load((FOLDER / f"{name}.yaml").read_text())["lr_scheduler"]["total_training_time"]
        for name in ("eight_gpus", "multi_node")
    }
    assert hours["eight_gpus"] == 90 == 2 * hours["multi_node"]


@pytest.fixture
def corpus(tmp_path):
    write_text(tmp_path / "corpus")
    shape = replace(SHAPE, layers=12)
    write_teacher(tmp_path / "teacher" / "model.pt", shape, classes=None, lm_head=True)
    return tmp_path


# By updates, not by the clock, and in few of them.
STEADY = ("+lr_scheduler.lr_by=updates", "lr_scheduler.lr_warmup=0", "optimization.lr=[0.01]",
          "+model.dropout=0", "+model.attention_dropout=0")  # fmt: skip


def train(folder: Path, name: str, *overrides: str, torchrun: tuple[str, ...] = ()):
    """What each validation logged."""
    given = {"task.data": "corpus", "task.tokens_per_sample": "24", "dataset.batch_size": "8", "common.cpu": "true",
             "common.user_dir": ROOT / "fairseq_kd"}  # fmt: skip
    given |= dict(override.split("=", 1) for override in [*STEADY, *overrides])
    command = [str(Path(sys.executable).with_name("fairseq-hydra-train")), "--config-dir", str(FOLDER),
               "--config-name", name, *(f"{key}={value}" for key, value in given.items())]  # fmt: skip
    done = run([*torchrun, *command], cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = re.findall(r"\[valid\]\[INFO\] - (\{.*\})", done.stdout + done.stderr)
    return [{key: float(value) for key, value in json.loads(row).items()} for row in rows]


@pytest.mark.slow
def test_the_small_ones_train(corpus):
    small = train(corpus, "small_cpu", "task.teacher=teacher", "optimization.max_update=30")
    assert small[-1]["valid_attention"] < 0.8 * small[0]["valid_attention"]
    assert (corpus / "runs" / "pretrained_small" / "checkpoint_end.pt").is_file()

    words = train(corpus, "small_roberta", "model.encoder_embed_dim=16", "model.encoder_ffn_embed_dim=32",
                  "model.max_positions=40", "optimization.max_update=60")  # fmt: skip
    assert words[-1]["valid_ppl"] < 0.97 * words[0]["valid_ppl"]


@pytest.mark.slow
def test_the_published_one_learns_on_two_workers_what_it_learns_on_one(corpus):
    port = str(20000 + (os.getpid() + 23) % 20000)
    torchrun = (
        str(Path(sys.executable).with_name("torchrun")),
        "--nproc-per-node",
        "2",
        "--master-port",
        port,
    )

    # With a large epsilon the update depends on the size of the gradient, too.
    def published(update_freq: int, *overrides: str, **how):
        return train(corpus, "eight_gpus", "task.teacher=teacher", "dataset.batch_size=2", "optimization.max_update=4",
                     "optimizer.adam_eps=0.1", f"optimization.update_freq=[{update_freq}]",
                     f"checkpoint.save_dir=runs/{update_freq}",
                     *overrides, **how)  # fmt: skip

    (one,) = published(4)
    (two,) = published(2, "distributed_training.distributed_backend=gloo", torchrun=torchrun)
    assert two["valid_num_updates"] == 4
    for name in ("valid_loss", "valid_attention", "valid_value"):
        assert two[name] == pytest.approx(one[name], rel=1e-2)
