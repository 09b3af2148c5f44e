"""Every config is one that `fairseq-hydra-train` accepts, and says how it is run."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from fairseq_kd.describe import describe
from launcher.datasets import PUBLISHED_EPOCHS, TASKS, task_name
from tests.configs.written import written
from tests.processes import run
from tests.tiny import ROOT, write_data, write_teacher

CONFIGS = sorted(path for path in (ROOT / "configs").glob("*.yaml") if path.stem != "base")
# Also those of the folders configs/hsk and configs/pretraining.
FILES = sorted((ROOT / "configs").rglob("*.yaml"))
ALL = [path for path in FILES if path.stem != "base" and path.parent.name != "grids"]
METHODS = list(describe()["criterions"])


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_every_key_of_a_config_exists(path):
    task = "masked_lm_kd" if path.parent.name == "pretraining" else "sentence_prediction_kd"
    assert written(path.parent, path.stem).task._name == task


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_a_config_opens_with_the_command_that_runs_it(path):
    comment = path.read_text().split("defaults:")[0]
    folder = path.parent.relative_to(ROOT)
    command = rf"fairseq-hydra-train\)? --config-dir {folder} --config-name {path.stem}( |$)"
    assert re.match(r"# \w.*[.:]\n", comment)
    assert re.search(rf"^#   .*{command}", comment, re.M)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_and_the_base_have_no_key_in_common(path):
    def keys(file: Path) -> set[tuple[str, str]]:
        sections = yaml.safe_load(file.read_text()).items()
        return {(name, key) for name, section in sections if isinstance(section, dict) for key in section}

    assert not keys(path) & keys(ROOT / "configs" / "base.yaml")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_has_the_published_settings_of_its_task(path):
    config, task = yaml.safe_load(path.read_text()), TASKS[task_name(path.stem.split("_")[0])]
    assert [float(lr) for lr in config["optimization"]["lr"]] == [task.lr]
    assert config["optimization"]["max_epoch"] == PUBLISHED_EPOCHS
    assert config["dataset"]["batch_size"] == task.batch_size
    assert config["lr_scheduler"] == {"warmup_updates": task.warmup, "total_num_update": task.updates}


@pytest.mark.slow
def test_every_criterion_trains_from_a_config(tmp_path):
    """One process, one job a criterion; relative paths, from a folder of the user's."""
    write_data(tmp_path / "data")
    write_teacher(tmp_path / "teacher" / "model.pt")
    folder = str(ROOT / "configs")
    command = ["fairseq-hydra-train", "--multirun", "--config-dir", folder, "--config-name", "rte_kd"]
    given = (
        "common.cpu=true hydra.sweep.dir=sweep task.data=data task.teacher=teacher model.init_from=teacher "
    )
    given += "model.init_layers='0,3' optimization.max_epoch=1 checkpoint.save_dir=runs/${criterion._name}"
    more = [f"common.user_dir={ROOT / 'fairseq_kd'}", "criterion._name=" + ",".join(METHODS)]
    done = run([*command, *given.split(), *more], cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    for method in METHODS:
        assert (tmp_path / "runs" / method / "checkpoint_best.pt").is_file(), method
        saved = torch.load(tmp_path / "runs" / method / "checkpoint_last.pt", weights_only=True)
        assert saved["cfg"]["model"]["encoder_layers"] == 2
        assert not any("teacher" in name for name in saved["model"]), method
        copies = [name for name in saved["criterion"] if "sentence_encoder" in name]
        assert all("sda.past" in name for name in copies), method
