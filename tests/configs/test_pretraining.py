"""The configs of pre-training: fairseq accepts them, and the small one trains."""

import json
import math
import re
from dataclasses import replace

import pytest
import yaml

from tests.configs.written import written
from tests.processes import run
from tests.tiny import ROOT, SHAPE, write_teacher, write_text

FOLDER = ROOT / "configs" / "pretraining"
CONFIGS = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != "base")
PUBLISHED = ("one_gpu", "eight_gpus", "multi_node")


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_batch_is_the_published_one(name):
    config = written(FOLDER, name)
    command = (FOLDER / f"{name}.yaml").read_text()
    workers = math.prod(map(int, re.findall(r"--(?:nnodes|nproc-per-node) (\d+)", command)))
    assert workers * config.dataset.batch_size * config.optimization.update_freq[0] == 1024
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


@pytest.mark.slow
def test_the_small_config_trains(tmp_path):
    write_text(tmp_path / "corpus")
    write_teacher(tmp_path / "teacher" / "model.pt", replace(SHAPE, layers=12), classes=None, lm_head=True)
    # By updates, because the clock of a loaded machine is not steady.
    overrides = ["+lr_scheduler.lr_by=updates", "lr_scheduler.lr_warmup=0", "optimization.lr=[0.01]", "+model.dropout=0",
                 "+model.attention_dropout=0", "task.data=corpus", "task.tokens_per_sample=24", "dataset.batch_size=8",
                 "common.cpu=true", f"common.user_dir={ROOT / 'fairseq_kd'}", "task.teacher=teacher",
                 "optimization.max_update=30"]  # fmt: skip
    command = ["fairseq-hydra-train", "--config-dir", str(FOLDER), "--config-name", "small_cpu"]
    done = run([*command, *overrides], cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = re.findall(r"\[valid\]\[INFO\] - (\{.*\})", done.stdout + done.stderr)
    first, *_, last = (float(json.loads(row)["valid_attention"]) for row in rows)
    assert last < 0.8 * first
    assert (tmp_path / "runs" / "pretrained_small" / "checkpoint_end.pt").is_file()
